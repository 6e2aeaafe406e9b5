import type { Dispatcher } from 'undici'
import {
  SupersededError,
  blameOfError,
  blameOfStatus,
  resultOfError,
  resultOfStatus
} from './blame.ts'
import type { AttemptResult, Blame } from './blame.ts'
import { dropBody } from './call.ts'
import type { Call } from './call.ts'
import type { CallBody, ClientResponse, ResponseBody } from './call-types.ts'
import { CallAbortedError, ClientClosedError, DeadlineError } from './errors.ts'
import { FailedStatus } from './failed-status.ts'
import type { Cancellable, CancelReason } from './lifetime.ts'
import type { RequestObserver } from './measured-dispatcher.ts'
import { Timings } from './timings.ts'
import { translated } from './upstream-errors.ts'
import type { Stage } from './upstream-errors.ts'
import type { Upstream } from './upstream.ts'
import { Waiting } from './waiting.ts'

/** Told when an attempt has ended, its answer read or given up. */
export type OnAttemptEnd = (attempt: Attempt, blame: Blame) => void

/**
 * One request to one origin, from its waiting for a place in the pool until its answer has ended.
 * Stamps the time of each step, so that none is blamed for another. All times are monotonic
 * milliseconds, 0 until then.
 */
export class Attempt implements Cancellable, RequestObserver {
  readonly call: Call
  readonly upstream: Upstream
  readonly startMs: number
  dispatchMs = 0
  sentMs = 0
  answerMs = 0
  endMs = 0
  /** When it was answered. */
  response!: ClientResponse
  readonly #now: () => number
  readonly #onEnd: OnAttemptEnd
  readonly #timings = new Timings()
  #requestBody: CallBody | undefined
  #responseBody: ResponseBody | undefined
  #status = 0
  #holdsSlot = false
  #error: Error | undefined
  /** The ways to end it before its time, each from when there is something to end. */
  #abort: ((error?: Error) => void) | undefined
  #leaveQueue: ((error: Error) => void) | undefined
  #rejectSend: ((error: Error) => void) | undefined
  #rejectRun: ((error: Error) => void) | undefined

  constructor(call: Call, upstream: Upstream, now: () => number, onEnd: OnAttemptEnd) {
    this.call = call
    this.upstream = upstream
    this.#now = now
    this.#onEnd = onEnd
    this.startMs = now()
  }

  /** @throws what failed; {@link FailedStatus} for an answer that is a failure of the upstream */
  run(): Promise<Attempt> {
    return new Promise((resolve, reject) => {
      this.#rejectRun = reject
      this.call.lifetime.add(this)
      this.#work().then(resolve, reject)
    })
  }

  async #work(): Promise<Attempt> {
    const { call, upstream } = this
    try {
      this.#requestBody = typeof call.body === 'function' ? await call.body() : call.body
      if (this.#error !== undefined) throw this.#error
      if (upstream.slots.tryTake()) this.#holdsSlot = true
      else await this.#waitForSlot()
      if (this.#error !== undefined) throw this.#error
      return await (upstream.breaker?.fire(this) ?? this.send())
    } catch (error) {
      // when it was dispatched, undici tells how and when it ended
      if (this.dispatchMs === 0) {
        dropBody(this.#requestBody)
        this.#end(resultOfError(error), blameOfError(error))
      }
      throw error
    }
  }

  /** For the breaker: what it judges begins here, when a place in the pool is taken. */
  send(): Promise<Attempt> {
    const { call, upstream } = this
    this.dispatchMs = this.#now()
    this.#timings.queueMs = this.dispatchMs - this.startMs
    call.outbound?.enter(this.dispatchMs)
    upstream.meter.phases.queue.record(this.#timings.queueMs / 1000)
    return new Promise((resolve, reject) => {
      this.#rejectSend = reject
      try {
        this.#dispatch(resolve, reject)
      } catch (error) {
        reject(this.failed(error))
      }
    })
  }

  cancel(reason: CancelReason, cause?: unknown): void {
    if (this.endMs !== 0 || this.#error !== undefined) return
    const error = this.#errorOf(reason, cause)
    this.#error = error
    this.#leaveQueue?.(error)
    this.#rejectSend?.(error)
    this.#rejectRun?.(error)
    if (this.#responseBody !== undefined) this.#responseBody.on('error', ignore).destroy(error)
    else this.#abort?.(error)
  }

  sent(abort: (error?: Error) => void): void {
    this.sentMs = this.#now()
    this.#abort = abort
    this.#timings.connectMs = this.sentMs - this.dispatchMs
    this.upstream.meter.phases.connect.record(this.#timings.connectMs / 1000)
    if (this.#error !== undefined) abort(this.#error)
  }

  answered(): void {
    this.answerMs = this.#now()
    this.#timings.firstByteMs = this.answerMs - this.sentMs
    this.#timings.totalMs = this.answerMs - this.call.startMs
    this.upstream.meter.phases.first_byte.record(this.#timings.firstByteMs / 1000)
  }

  completed(): void {
    this.#end(resultOfStatus(this.#status), blameOfStatus(this.#status))
    this.#timings.bodyMs = this.endMs - this.answerMs
    this.upstream.meter.phases.body.record(this.#timings.bodyMs / 1000)
  }

  failed(error: unknown): Error {
    this.#error ??= translated(error, this.#stage, this.upstream.where)
    // who does not read a failure to its end has seen enough of it
    if (this.#error instanceof CallAbortedError && this.#status >= 400) {
      this.#end(resultOfStatus(this.#status), blameOfStatus(this.#status))
    } else {
      this.#end(resultOfError(this.#error), blameOfError(this.#error))
    }
    return this.#error
  }

  #dispatch(resolve: (attempt: Attempt) => void, reject: (error: Error) => void): void {
    const options = this.call.dispatchOptions(this, this.#requestBody)
    this.upstream.dispatcher.request(options, (error, data) => {
      if (error !== null) return reject(this.failed(error))
      this.#take(data)
      if (blameOfStatus(this.#status) === 'upstream') reject(new FailedStatus(this))
      else resolve(this)
    })
  }

  /** Nobody wants its answer: the connection is free again when that has come, unless it is long. */
  discard(): void {
    this.#responseBody?.dump().catch(ignore)
  }

  #take(data: Dispatcher.ResponseData<unknown>): void {
    this.#responseBody = data.body
    this.#status = data.statusCode
    this.response = {
      status: data.statusCode,
      headers: data.headers,
      body: data.body,
      timings: this.#timings,
      origin: this.upstream.origin,
      attempts: this.call.attempts
    }
  }

  get #stage(): Stage {
    if (this.answerMs !== 0) return 'answering'
    return this.sentMs === 0 ? 'unsent' : 'sent'
  }

  async #waitForSlot(): Promise<void> {
    const { call, upstream } = this
    call.outboundQueue?.enter(this.startMs)
    const waiting = new Waiting(upstream)
    this.#leaveQueue = (error) => waiting.leave(error)
    try {
      await waiting.over
    } finally {
      this.#leaveQueue = undefined
      // also when it was called off just before it goes on: it must be given back
      this.#holdsSlot = waiting.isIn
      call.outboundQueue?.leave(this.#now())
    }
  }

  #errorOf(reason: CancelReason, cause: unknown): Error {
    const { where } = this.upstream
    if (reason === 'aborted') return new CallAbortedError(where, cause)
    if (reason === 'superseded') return new SupersededError()
    if (reason === 'closed') return new ClientClosedError(where)
    return new DeadlineError(this.call.allowedMs, where, this.#isUpstreamLate())
  }

  /** Whether the upstream, and not a queue or an impatient caller, used most of the time there was. */
  #isUpstreamLate(): boolean {
    if (this.dispatchMs === 0 || this.answerMs !== 0) return false
    const nowMs = this.#now()
    const withUpstreamMs = nowMs - this.dispatchMs
    const { call } = this
    if (call.isDeadlineInherited && withUpstreamMs < call.patienceMs) return false
    return withUpstreamMs * 2 >= nowMs - call.startMs
  }

  #end(result: AttemptResult, blame: Blame): void {
    if (this.endMs !== 0) return
    this.endMs = this.#now()
    const { call, upstream } = this
    call.lifetime.remove(this)
    if (this.dispatchMs !== 0) call.outbound?.leave(this.endMs)
    upstream.note(result, blame, this.dispatchMs === 0 ? undefined : this.endMs - this.dispatchMs)
    if (this.#holdsSlot) upstream.slots.release()
    this.#onEnd(this, blame)
  }
}

function ignore(): void {}
