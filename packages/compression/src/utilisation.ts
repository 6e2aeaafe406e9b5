import { availableParallelism } from 'node:os'
import { performance } from 'node:perf_hooks'

/**
 * How busy this process was since the last call, from 0 to 1: the larger of the event loop's
 * utilisation and the share of all cores. Differences, not totals since the start, which go blind.
 */
export function utilisationMeter(): () => number {
  const cores = availableParallelism()
  let loop = performance.eventLoopUtilization()
  let cpu = process.cpuUsage()
  let atMs = performance.now()
  return () => {
    const nowMs = performance.now()
    const nextLoop = performance.eventLoopUtilization()
    const nextCpu = process.cpuUsage()
    const { utilization } = performance.eventLoopUtilization(nextLoop, loop)
    const cpuMs = (nextCpu.user + nextCpu.system - cpu.user - cpu.system) / 1000
    const share = cpuMs / Math.max(1, nowMs - atMs) / cores
    loop = nextLoop
    cpu = nextCpu
    atMs = nowMs
    return Math.max(utilization, share)
  }
}
