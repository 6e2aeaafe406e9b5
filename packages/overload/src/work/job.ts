import { AsyncResource } from 'node:async_hooks'
import type { Due } from './deadline-heap.ts'
import { LateSignal } from './late-signal.ts'
import type { Linked } from './linked-list.ts'
import type { Queued } from './priority-queue.ts'
import type { JobFunction, WorkResult } from './work-types.ts'

/** Counts what happens to the jobs of one name. */
export interface WorkMeter {
  count(result: WorkResult): void
  /** How long a job was in the queue, when it leaves it for whatever reason. */
  waited(seconds: number): void
  /** How long a job was at work, when it has really ended. */
  ran(seconds: number): void
}

/** What a pool is asked to do. */
export interface JobRequest<Result> {
  readonly name: string
  /** 0 is the most urgent. */
  readonly rank: number
  readonly work: JobFunction<Result>
  readonly signal?: AbortSignal | undefined
  readonly deadlineMs?: number | undefined
}

/** Where the caller's promise is settled. */
export interface Caller {
  readonly resolve: (value: never) => void
  readonly reject: (reason: unknown) => void
}

/** One job from its submission to its end. */
export class Job implements Queued, Due {
  previous: Linked | undefined = undefined
  next: Linked | undefined = undefined
  heapIndex = -1
  readonly name: string
  readonly rank: number
  readonly queuedMs: number
  /** Infinity: never. */
  readonly dueMs: number
  readonly deadlineMs: number | undefined
  readonly meter: WorkMeter
  readonly caller: Caller
  /** What the work is handed, and told by. */
  readonly late: LateSignal = new LateSignal()
  readonly #work: JobFunction<unknown>
  #context: AsyncResource | undefined = undefined
  place: 'none' | 'queue' | 'work' = 'none'
  /** Whether the caller has an answer. The work may still go on. */
  isTold = false
  /** Takes the listener off the caller's signal. */
  unlisten: (() => void) | undefined = undefined

  constructor(request: JobRequest<unknown>, meter: WorkMeter, caller: Caller, nowMs: number) {
    this.name = request.name
    this.rank = request.rank
    this.#work = request.work
    this.deadlineMs = request.deadlineMs
    this.queuedMs = nowMs
    this.dueMs = nowMs + (request.deadlineMs ?? Infinity)
    this.meter = meter
    this.caller = caller
  }

  /** Keeps the context of who submitted it: the end of somebody else's job will call it. */
  keepContext(): void {
    this.#context = new AsyncResource('WorkJob', { requireManualDestroy: true })
  }

  /** Does the work. */
  call(): unknown {
    return this.#context === undefined
      ? this.#work(this.late)
      : this.#context.runInAsyncScope(this.#work, undefined, this.late)
  }

  /** Calls back when the caller gives up. */
  listen(signal: AbortSignal, giveUp: () => void): void {
    signal.addEventListener('abort', giveUp, { once: true })
    this.unlisten = () => signal.removeEventListener('abort', giveUp)
  }

  /** Rejects the caller's promise, once. */
  fail(result: WorkResult, reason: unknown): void {
    if (!this.#tell(result)) return
    this.caller.reject(reason)
  }

  /** Resolves the caller's promise, once. */
  succeed(value: unknown): void {
    if (!this.#tell('success')) return
    this.caller.resolve(value as never)
  }

  #tell(result: WorkResult): boolean {
    if (this.isTold) return false
    this.isTold = true
    this.unlisten?.()
    this.meter.count(result)
    return true
  }
}
