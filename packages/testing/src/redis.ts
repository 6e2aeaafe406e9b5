import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { eventually } from './eventually.ts'
import { connects, freePort } from './sockets.ts'

/** A real Redis of the test's own, so that it can be killed and paused without harm to others. */
export interface RedisServer {
  readonly port: number
  readonly url: string
  /** Stops answering, connections stay open (SIGSTOP). */
  pause(): void
  /** Answers again (SIGCONT). */
  resume(): void
  /** Ends it at once (SIGKILL); connections are reset, its data is gone. */
  kill(): Promise<void>
  /** Starts it again on the same port after `kill`. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/** @returns `undefined` when redis-server is not installed */
export async function startRedis(): Promise<RedisServer | undefined> {
  if (spawnSync('redis-server', ['--version']).error !== undefined) return undefined
  const port = await freePort()
  let server = await launch(port)
  const kill = async (): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return
    const ended = once(server, 'exit')
    server.kill('SIGKILL')
    await ended
  }
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    pause: () => void server.kill('SIGSTOP'),
    resume: () => void server.kill('SIGCONT'),
    kill,
    async restart() {
      server = await launch(port)
    },
    stop: kill
  }
}

async function launch(port: number): Promise<ChildProcess> {
  const flags = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  const server = spawn('redis-server', flags, { stdio: 'ignore' })
  await eventually(async () => await connects(port), 10_000)
  return server
}
