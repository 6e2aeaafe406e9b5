import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { eventually } from '@fastify-vitals/testing'

const FLAGS = ['--conditions=@fastify-vitals/source', '--import=./scripts/strip-types.mjs']

/** One of the example's programs, under way. */
export interface Run {
  readonly child: ChildProcess
  readonly output: () => string
  readonly code: Promise<number | null>
}

const children: ChildProcess[] = []
/** Ends whatever a test that failed left running. */
export function stopAll(): void {
  for (const child of children) child.kill('SIGKILL')
}

export function run(file: string, args: readonly string[], env: Record<string, string> = {}): Run {
  const { DATABASE_URL: _, ...inherited } = process.env
  const child = spawn(process.execPath, [...FLAGS, `apps/example/src/${file}`, ...args], {
    env: { ...inherited, ...env }
  })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  return {
    child,
    output: () => output,
    code: once(child, 'exit').then(([code]) => code as number | null)
  }
}

export async function addressOf(shop: Run): Promise<string> {
  return await eventually(() => /serving on (\S+)/.exec(shop.output())?.[1], 40_000)
}
