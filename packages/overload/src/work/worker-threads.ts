import type { Worker } from 'node:worker_threads'
import type { Piscina } from 'piscina'
import { WorkThreadError } from './errors.ts'
import { KeepAlive } from './keep-alive.ts'
import type { TransferItem } from './work-types.ts'

/** Longest wait for threads to end at close: one that is inside of a native call can't be stopped. */
const ENDING_MS = 5000

/** What a thread is asked to do. */
export interface ThreadCall {
  readonly task: string
  /** URL of the module. */
  readonly filename: string
  /** Name of what it exports. */
  readonly exportName: string
  readonly payload: unknown
  readonly transfer: readonly TransferItem[]
  readonly signal: AbortSignal
}

export interface ThreadLimits {
  readonly maxThreads: number
  readonly idleTimeoutMs: number
  /** Undefined: as much as this thread may. */
  readonly maxHeapMb?: number | undefined
  /** Undefined: those of this process. */
  readonly execArgv?: readonly string[] | undefined
}

/**
 * Worker threads by piscina. Not even its code is loaded before the first call. Whoever calls keeps
 * to `maxThreads` calls at once, so nothing ever waits in a queue of piscina's.
 */
export class WorkerThreads {
  readonly #limits: ThreadLimits
  readonly #onFault: (error: unknown) => void
  readonly #ending = new Set<Worker>()
  /** Each call that piscina has, by what aborts it there. */
  readonly #calls = new Set<AbortController>()
  readonly #keepAlive = new KeepAlive()
  #starting: Promise<Piscina> | undefined
  #piscina: Piscina | undefined
  /** The last error of a thread that belonged to no task. */
  #fault: unknown
  #isClosed = false

  /** @param onFault told of errors in a thread that belong to no task */
  constructor(limits: ThreadLimits, onFault: (error: unknown) => void) {
    this.#limits = limits
    this.#onFault = onFault
  }

  /** Threads alive, those that are just ending included. */
  get count(): number {
    return (this.#piscina?.threads.length ?? 0) + this.#ending.size
  }

  /** Settles when the thread is free again or, after an abort, has really ended. */
  async run(call: ThreadCall): Promise<unknown> {
    // a thread of piscina's that is just starting doesn't
    this.#keepAlive.hold()
    try {
      this.#starting ??= this.#start()
      const piscina = await this.#starting
      call.signal.throwIfAborted()
      return await this.#runOn(piscina, call)
    } finally {
      this.#keepAlive.release()
    }
  }

  /** Ends all threads; call it when nobody calls any more. */
  async close(): Promise<void> {
    this.#isClosed = true
    const piscina = await this.#starting?.catch(() => undefined)
    if (piscina === undefined) return
    const all = [...piscina.threads, ...this.#ending]
    const ended = Promise.all([piscina.destroy(), this.#ended(all)])
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#onFault(new Error(`${this.count} worker threads did not end in ${ENDING_MS} ms`))
        resolve()
      }, ENDING_MS)
    })
    await Promise.race([ended, late])
    clearTimeout(timer)
  }

  async #start(): Promise<Piscina> {
    const { Piscina } = await import('piscina')
    if (this.#isClosed) throw new Error('closed')
    const piscina = new Piscina(piscinaOptions(this.#limits))
    // without a listener an error of no task would end the process
    piscina.on('error', (error) => {
      this.#fault = error
      this.#onFault(error)
    })
    piscina.on('workerDestroy', () => queueMicrotask(() => this.#rescue(piscina)))
    this.#piscina = piscina
    return piscina
  }

  async #runOn(piscina: Piscina, call: ThreadCall): Promise<unknown> {
    const { payload, filename, exportName: name, signal, transfer } = call
    const controller = new AbortController()
    let threads: Worker[] = []
    const abort = (): void => {
      threads = piscina.threads
      controller.abort(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
    this.#calls.add(controller)
    try {
      const options = { filename, name, signal: controller.signal, transferList: [...transfer] }
      return await piscina.run(payload, options)
    } catch (error) {
      await this.#ended(threads.filter((thread) => !piscina.threads.includes(thread)))
      throw threadError(call.task, error, controller.signal)
    } finally {
      this.#calls.delete(controller)
      signal.removeEventListener('abort', abort)
    }
  }

  /**
   * Gives up the calls for which no thread will come: piscina leaves them in its queue for ever when
   * their thread dies while it starts.
   */
  #rescue(piscina: Piscina): void {
    if (piscina.threads.length > 0) return
    const cause = this.#fault ?? new Error('it exited while it started')
    this.#fault = undefined
    for (const controller of this.#calls) controller.abort(cause)
  }

  async #ended(threads: readonly Worker[]): Promise<void> {
    await Promise.all(
      threads.map(async (thread) => {
        if (thread.threadId === -1) return
        this.#ending.add(thread)
        await new Promise<void>((resolve) => thread.once('exit', () => resolve()))
        this.#ending.delete(thread)
      })
    )
  }
}

function piscinaOptions(limits: ThreadLimits): ConstructorParameters<typeof Piscina>[0] {
  const { maxThreads, idleTimeoutMs, maxHeapMb, execArgv } = limits
  return {
    minThreads: 0,
    maxThreads,
    maxQueue: maxThreads,
    idleTimeout: idleTimeoutMs,
    recordTiming: false,
    ...(execArgv === undefined ? {} : { execArgv: [...execArgv] }),
    ...(maxHeapMb === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: maxHeapMb } })
  }
}

/** What the caller is told. @param signal what the call is aborted by when no thread comes for it */
function threadError(task: string, error: unknown, signal: AbortSignal): unknown {
  if (isLost(error)) {
    const cause = new Error('what it returned or threw could not be copied between threads')
    return new WorkThreadError(task, cause)
  }
  if (!(error instanceof Error)) return error
  if (isDeath(error)) return new WorkThreadError(task, error)
  const isStuck = signal.aborted && error.cause === signal.reason
  return isStuck ? new WorkThreadError(task, error.cause) : error
}

/** Whether an error tells of the end of the thread, and not of what the task threw. */
function isDeath(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ERR_WORKER_OUT_OF_MEMORY' || error.message.startsWith('worker exited with code')
}

/**
 * Whether it is what becomes of a `DataCloneError` on its way between threads: on Node 20 an empty
 * object, later an error without its message.
 */
function isLost(error: unknown): boolean {
  if (error instanceof Error) {
    return error.message === '' && error.stack?.startsWith('DataCloneError') === true
  }
  return typeof error === 'object' && error !== null
    ? Object.keys(error).length === 0
    : error === undefined
}
