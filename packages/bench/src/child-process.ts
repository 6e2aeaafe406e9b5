import { fork, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'

/**
 * The same young generation for all: with V8's own sizing, whole processes come out in one of two
 * speeds, by chance, and stay there.
 */
const NODE_FLAGS = ['--max-semi-space-size=64', '--min-semi-space-size=64']

/** A process of ours that answers messages, one at a time. */
export class Child {
  readonly #process: ChildProcess

  private constructor(process: ChildProcess) {
    this.#process = process
  }

  /**
   * @param module file name beside this one, without its ending
   * @param core processor to run on, where the system lets us choose
   */
  static start(
    module: string,
    args: readonly string[],
    core: number,
    flags: readonly string[] = []
  ): Child {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
    const file = fileURLToPath(new URL(`./${module}.${extension}`, import.meta.url))
    const execArgv = [...process.execArgv, ...NODE_FLAGS, ...flags]
    const started = fork(file, args, { execArgv, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    pin(started.pid!, core)
    return new Child(started)
  }

  /** The next message; rejects when the process ends first. */
  async next<Message>(): Promise<Message> {
    const ended = new AbortController()
    const exit = once(this.#process, 'exit', { signal: ended.signal }).then(() => {
      throw new Error(`a benchmark process ended early, see its output above`)
    })
    try {
      const [message] = (await Promise.race([
        once(this.#process, 'message', { signal: ended.signal }),
        exit
      ])) as [Message]
      return message
    } finally {
      exit.catch(() => {})
      ended.abort()
    }
  }

  send(message: string): void {
    this.#process.send(message)
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return
    this.#process.kill()
    await once(this.#process, 'exit')
  }
}

/** Whether processes can be kept on a processor of their own. */
export const CAN_PIN: boolean =
  process.platform === 'linux' && cpus().length > 1 && spawnSync('taskset', ['-V']).status === 0

/** Keeps a process on one core, so that server and load don't fight; all its threads. */
export function pin(pid: number, core: number): void {
  if (CAN_PIN) spawnSync('taskset', ['-acp', String(core), String(pid)])
}

export const SERVER_CORE = 0
export const LOAD_CORE = 1
