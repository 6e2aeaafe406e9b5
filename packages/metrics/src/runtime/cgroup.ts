import { readFileSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { posix } from 'node:path'

/** How to read a file; for tests, a made-up tree. @returns `undefined` when there is none */
export type ReadFile = (path: string) => string | undefined

const CGROUP_ROOT = '/sys/fs/cgroup'

/**
 * Processor time that this process may use, in cores: the tightest quota of its cgroup and the
 * groups above it, or the machine's cores where there is none.
 */
export function cpuQuotaCores(
  read: ReadFile = readOrUndefined,
  machineCores: number = availableParallelism()
): number {
  const quotas = groupPaths(read).flatMap((group) => [
    quotaV2(read(`${CGROUP_ROOT}${group}/cpu.max`)),
    quotaV1(
      read(`${CGROUP_ROOT}/cpu${group}/cpu.cfs_quota_us`),
      read(`${CGROUP_ROOT}/cpu${group}/cpu.cfs_period_us`)
    )
  ])
  return Math.min(machineCores, ...quotas)
}

/**
 * Memory limit of the container in bytes; `undefined` when there is none. Where nothing is set Node
 * answers with a number near 2^64, so anything beyond the machine's memory means none.
 */
export function containerMemoryLimit(
  constrained: number = process.constrainedMemory(),
  machine: number = totalmem()
): number | undefined {
  return constrained > 0 && constrained <= machine ? constrained : undefined
}

/** The cgroup of this process and all above it, as paths below the mount; `''` is the root. */
function groupPaths(read: ReadFile): string[] {
  const lines = (read('/proc/self/cgroup') ?? '').split('\n')
  const paths = new Set<string>([''])
  for (const line of lines) {
    const [, controllers, path] = line.split(':')
    if (controllers !== '' && !controllers?.split(',').includes('cpu')) continue
    for (let at = path ?? '/'; at !== '/' && at !== '.'; at = posix.dirname(at)) paths.add(at)
  }
  return [...paths]
}

function quotaV2(text: string | undefined): number {
  const [quota, period] = (text ?? '').trim().split(' ').map(Number)
  return cores(quota, period)
}

function quotaV1(quota: string | undefined, period: string | undefined): number {
  return cores(Number(quota ?? NaN), Number(period ?? NaN))
}

/** Quota over period; no quota (`max`, -1, absent) is infinitely many. */
function cores(quota: number | undefined, period: number | undefined): number {
  return quota !== undefined && period !== undefined && quota > 0 && period > 0
    ? quota / period
    : Infinity
}

function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
