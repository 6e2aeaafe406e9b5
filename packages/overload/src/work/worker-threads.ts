import type { Worker } from 'node:worker_threads'
import type { Piscina } from 'piscina'
import { WorkThreadError } from './errors.ts'
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
}

/**
 * Worker threads by piscina. Not even its code is loaded before the first call. Whoever calls keeps
 * to `maxThreads` calls at once, so nothing ever waits in a queue of piscina's.
 */
export class WorkerThreads {
  readonly #limits: ThreadLimits
  readonly #onFault: (error: unknown) => void
  readonly #ending = new Set<Worker>()
  #starting: Promise<Piscina> | undefined
  #piscina: Piscina | undefined
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
    this.#starting ??= this.#start()
    const piscina = await this.#starting
    call.signal.throwIfAborted()
    let threads: Worker[] = []
    const note = (): void => void (threads = piscina.threads)
    // before piscina listens, which ends the thread
    call.signal.addEventListener('abort', note, { once: true })
    try {
      return await piscina.run(call.payload, {
        filename: call.filename,
        name: call.exportName,
        signal: call.signal,
        transferList: [...call.transfer]
      })
    } catch (error) {
      await this.#ended(threads.filter((thread) => !piscina.threads.includes(thread)))
      throw isDeath(error) ? new WorkThreadError(call.task, error) : error
    } finally {
      call.signal.removeEventListener('abort', note)
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
    const { maxThreads, idleTimeoutMs, maxHeapMb } = this.#limits
    this.#piscina = new Piscina({
      minThreads: 0,
      maxThreads,
      maxQueue: maxThreads,
      idleTimeout: idleTimeoutMs,
      recordTiming: false,
      ...(maxHeapMb === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: maxHeapMb } })
    })
    // without a listener an error of no task would end the process
    this.#piscina.on('error', this.#onFault)
    return this.#piscina
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

/** Whether an error tells of the end of the thread, and not of what the task threw. */
function isDeath(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as NodeJS.ErrnoException
  return code === 'ERR_WORKER_OUT_OF_MEMORY' || error.message.startsWith('worker exited with code')
}
