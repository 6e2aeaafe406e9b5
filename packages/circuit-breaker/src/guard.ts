import type { CallResult, IsFailure } from './breaker-types.ts'
import type { Call } from './call.ts'
import { Deadlines } from './deadlines.ts'
import {
  BreakerOpenError,
  BreakerShutDownError,
  BreakerTimeoutError,
  BulkheadFullError
} from './errors.ts'
import type { Meter } from './meter.ts'
import { Standing } from './standing.ts'
import type { BreakerParts, StandingOptions } from './standing.ts'

/** The options of a breaker that have to do with each call, whatever it does. */
export interface GuardOptions extends StandingOptions {
  readonly timeoutMs: number | false
  readonly slowCallMs?: number | undefined
  readonly maxConcurrent?: number | undefined
  readonly isFailure?: IsFailure | undefined
}

/** How a call went, for whoever ends one. */
export type Outcome = 'success' | 'failure' | 'ignored' | 'neither'

/** Nobody knows when one of the calls that fill a bulkhead ends. */
const BULKHEAD_RETRY_MS = 1000

/** Opossum's event for each result that is told. */
const EVENTS: Readonly<Partial<Record<CallResult, string>>> = {
  success: 'success',
  ignored: 'success',
  failure: 'failure',
  timeout: 'timeout',
  rejected: 'reject',
  bulkhead_full: 'semaphoreLocked',
  fallback: 'fallback'
}

/**
 * Lets calls in and learns how they went: circuit, bulkhead and time-out of one breaker. What the
 * calls are and where they come from is not its business.
 */
export class Guard {
  readonly name: string
  readonly standing: Standing
  readonly #options: GuardOptions
  readonly #parts: BreakerParts
  readonly #meter: Meter
  readonly #maxConcurrent: number
  readonly #slowCallMs: number
  /** Calls that have a time-out, or else probes: a half-open circuit must come to an end. */
  readonly #deadlines: Deadlines<Call>
  /** Called when a call's work has ended and another may begin. */
  onRoom: (() => void) | undefined
  running = 0
  isShutDown = false

  constructor(name: string, options: GuardOptions, meter: Meter, parts: BreakerParts) {
    this.name = name
    this.#options = options
    this.#meter = meter
    this.#parts = parts
    this.#maxConcurrent = options.maxConcurrent ?? Infinity
    this.#slowCallMs = options.slowCallMs ?? Infinity
    this.standing = new Standing(name, options, parts)
    this.#deadlines =
      options.timeoutMs === false
        ? new Deadlines(options.openMs, parts.now, (call) => this.#giveUpProbe(call))
        : new Deadlines(options.timeoutMs, parts.now, (call) => this.#timeOut(call))
  }

  get hasTimeout(): boolean {
    return this.#options.timeoutMs !== false
  }

  /** Whether the bulkhead lets nobody in right now. */
  get isFull(): boolean {
    return this.running >= this.#maxConcurrent && this.standing.isProtecting
  }

  /**
   * Lets a call in. When its work has ended, `end` must follow. When it takes too long or the breaker
   * shuts down, it is told to give up.
   * @throws BreakerOpenError, BulkheadFullError or BreakerShutDownError
   */
  begin(call: Call): void {
    const { standing } = this
    if (this.isShutDown) throw new BreakerShutDownError(this.name)
    const isClosed = standing.state === 'closed'
    if (!isClosed && standing.isRefusing) throw this.refusal('rejected')
    if (this.isFull) throw this.refusal('bulkhead_full')
    if (!isClosed) standing.enter()
    this.running++
    call.startMs = this.#parts.now()
    call.period = standing.period
    if (this.hasTimeout ? standing.isProtecting : standing.state === 'half_open') {
      this.#deadlines.add(call)
      call.isTimed = true
    }
    if (standing.circuit.isHeard) standing.circuit.tell('fire', [])
  }

  /**
   * A call's work has ended. After a time-out it only gives its place free.
   * @param detail its value or error, for opossum's listeners
   * @returns false when it was over before
   */
  end(call: Call, outcome: Outcome, detail?: unknown): boolean {
    const isFirst = this.settle(call, outcome, detail)
    this.leave()
    return isFirst
  }

  /** Tells how a call went, before its work has ended. `leave` must follow. */
  settle(call: Call, outcome: Outcome, detail?: unknown): boolean {
    if (call.isOver) return false
    this.#judge(call, outcome === 'neither' ? 'ignored' : outcome, outcome !== 'neither', detail)
    return true
  }

  /** A call's work has ended: another one may begin in its place. */
  leave(): void {
    this.running--
    this.onRoom?.()
  }

  /** What an error of the action says, by the user's judgement. */
  outcomeOf(error: unknown): Outcome {
    const { isFailure } = this.#options
    if (isFailure === undefined) return 'failure'
    try {
      const answer = isFailure(error)
      if (answer === 'neither') return 'neither'
      return answer ? 'failure' : 'ignored'
    } catch (thrown) {
      this.#parts.onError('isFailure', thrown)
      return 'failure'
    }
  }

  /** Counts how a call was answered or refused. */
  count(result: CallResult, detail: unknown, durationMs: number = 0): void {
    this.#meter.count(result)
    const { circuit } = this.standing
    const event = EVENTS[result]
    if (circuit.isHeard && event !== undefined) circuit.tell(event, detail, durationMs)
  }

  /** Stops all timers; calls that have a time-out are aborted, further calls refused. */
  shutDown(): void {
    this.isShutDown = true
    this.standing.shutDown()
    for (const call of this.#deadlines.close()) {
      call.isOver = true
      call.isTimed = false
      call.giveUp(new BreakerShutDownError(this.name))
    }
  }

  /** Counts a refusal. @returns what to throw */
  refusal(result: 'rejected' | 'bulkhead_full'): Error {
    const error =
      result === 'rejected'
        ? new BreakerOpenError(this.name, this.standing.retryAfterMs())
        : new BulkheadFullError(this.name, this.#maxConcurrent, BULKHEAD_RETRY_MS)
    this.count(result, error)
    return error
  }

  #judge(call: Call, result: CallResult, isTelling: boolean, detail: unknown): void {
    call.isOver = true
    if (call.isTimed) {
      call.isTimed = false
      this.#deadlines.remove(call)
    }
    const nowMs = this.#parts.now()
    const durationMs = nowMs - call.startMs
    this.#meter.record(durationMs / 1000)
    this.count(result, detail, durationMs)
    const isFailure = result === 'failure' || result === 'timeout'
    if (isTelling) {
      this.standing.judge(call.period, isFailure, durationMs >= this.#slowCallMs, nowMs)
    } else {
      this.standing.forget(call.period)
    }
  }

  #timeOut(call: Call): void {
    call.isTimed = false
    if (!call.mayTimeOut()) return
    const error = new BreakerTimeoutError(this.name, Number(this.#options.timeoutMs))
    this.#judge(call, 'timeout', true, error)
    call.giveUp(error)
  }

  /** A probe that nobody times out hangs: it is judged, and its caller waits on. */
  #giveUpProbe(call: Call): void {
    call.isTimed = false
    const { period } = call
    call.period = -1
    this.standing.judge(period, true, false, this.#parts.now())
  }
}
