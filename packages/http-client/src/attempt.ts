import type { Dispatcher } from 'undici'
import type { AttemptHost } from './attempt-host.ts'
import { blameOfError, blameOfStatus, resultOfError, resultOfStatus } from './blame.ts'
import type { AttemptResult, Blame } from './blame.ts'
import type { Call } from './call.ts'
import type { ClientResponse, ResponseBody } from './call-types.ts'
import { cancelled } from './cancelled.ts'
import { CallAbortedError } from './errors.ts'
import { FailedStatus } from './failed-status.ts'
import type { Cancellable, CancelReason } from './lifetime.ts'
import type { RequestObserver } from './measured-dispatcher.ts'
import { RequestBody } from './request-body.ts'
import { Timings } from './timings.ts'
import { translated } from './upstream-errors.ts'
import type { Stage } from './upstream-errors.ts'
import type { Upstream } from './upstream.ts'
import { Verdict } from './verdict.ts'
import { Waiting } from './waiting.ts'

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
  /** Called when it is dispatched. */
  onDispatched: (() => void) | undefined
  readonly #host: AttemptHost
  readonly #timings = new Timings()
  #isMakingBody = false
  #requestBody: RequestBody | undefined
  #responseBody: ResponseBody | undefined
  #status = 0
  #holdsSlot = false
  #error: Error | undefined
  /** The ways to end it before its time, each from when there is something to end. */
  #abort: ((error?: Error) => void) | undefined
  #leaveQueue: ((error: Error) => void) | undefined
  #verdict: Verdict | undefined
  #resolveRun!: (attempt: Attempt) => void
  #rejectRun!: (error: unknown) => void

  constructor(call: Call, upstream: Upstream, host: AttemptHost) {
    this.call = call
    this.upstream = upstream
    this.#host = host
    this.startMs = host.now()
  }

  /** @throws what failed; {@link FailedStatus} for an answer that is a failure of the upstream */
  run(): Promise<Attempt> {
    return new Promise((resolve, reject) => {
      this.#resolveRun = resolve
      this.#rejectRun = reject
      this.call.lifetime.add(this)
      this.#work().catch((error: unknown) => {
        // when it was dispatched, undici tells how and when it ended
        if (this.dispatchMs === 0) this.#neverSent(error)
        reject(error)
      })
    })
  }

  /** Ends when it is known whether this speaks for the upstream. */
  async #work(): Promise<void> {
    const { call, upstream } = this
    if (typeof call.body === 'function') {
      this.#isMakingBody = true
      this.#requestBody = await RequestBody.made(call.body, upstream.where)
      this.#isMakingBody = false
    } else {
      this.#requestBody = new RequestBody(call.body)
    }
    if (this.#error !== undefined) throw this.#error
    if (upstream.slots.tryTake()) this.#holdsSlot = true
    else await this.#waitForSlot()
    if (this.#error !== undefined) throw this.#error
    const { failure } = this.#requestBody
    if (failure !== undefined) throw new CallAbortedError(upstream.where, failure)
    await (upstream.breaker?.fire(this) ?? this.send())
  }

  /** For the breaker: what it judges begins here, when a place in the pool is taken. */
  send(): Promise<void> {
    const { call, upstream } = this
    const verdict = new Verdict()
    this.#verdict = verdict
    this.dispatchMs = this.#host.now()
    this.#timings.queueMs = this.dispatchMs - this.startMs
    call.outbound?.enter(this.dispatchMs)
    upstream.meter.record('queue', this.#timings.queueMs)
    this.#host.dispatched(this)
    this.onDispatched?.()
    try {
      this.#dispatch(verdict)
    } catch (error) {
      verdict.bad(this.failed(error))
    }
    return verdict.given
  }

  cancel(reason: CancelReason, cause?: unknown): void {
    if (this.endMs !== 0 || this.#error !== undefined) return
    const error = cancelled(this, reason, cause, this.#host.now())
    this.#error = error
    this.#leaveQueue?.(error)
    if (this.#isMakingBody) this.#neverSent(error)
    this.#rejectRun(error)
    if (this.#responseBody !== undefined) {
      this.#responseBody.destroy(error)
    } else {
      this.#verdict?.bad(error)
      this.#abort?.(error)
    }
  }

  sent(abort: (error?: Error) => void): void {
    this.sentMs = this.#host.now()
    this.#abort = abort
    this.#timings.connectMs = this.sentMs - this.dispatchMs
    this.upstream.meter.record('connect', this.#timings.connectMs)
    if (this.#error !== undefined) abort(this.#error)
  }

  answered(): void {
    this.answerMs = this.#host.now()
    this.#timings.firstByteMs = this.answerMs - this.sentMs
    this.#timings.totalMs = this.answerMs - this.call.startMs
    this.upstream.meter.record('first_byte', this.#timings.firstByteMs)
  }

  completed(): void {
    this.#end(resultOfStatus(this.#status), blameOfStatus(this.#status))
    this.#timings.bodyMs = this.endMs - this.answerMs
    this.upstream.meter.record('body', this.#timings.bodyMs)
  }

  failed(error: unknown): Error {
    this.#error ??= this.#whyFailed(error)
    // who does not read a failure to its end has seen enough of it
    if (this.#error instanceof CallAbortedError && this.#status >= 400) {
      this.#end(resultOfStatus(this.#status), blameOfStatus(this.#status))
    } else {
      this.#end(resultOfError(this.#error), blameOfError(this.#error), this.#error)
    }
    return this.#error
  }

  #whyFailed(error: unknown): Error {
    const { where } = this.upstream
    const isOfBody = error !== undefined && error === this.#requestBody?.failure
    return isOfBody && !(error instanceof TypeError)
      ? new CallAbortedError(where, error)
      : translated(error, this.#stage, where)
  }

  #dispatch(verdict: Verdict): void {
    const options = this.call.dispatchOptions(this, this.#requestBody?.content)
    this.upstream.dispatcher.request(options, (error, data) => {
      if (error !== null) return verdict.bad(this.failed(error))
      this.#take(data)
      if (blameOfStatus(this.#status) === 'upstream') {
        verdict.bad(new FailedStatus(this))
      } else {
        this.#resolveRun(this)
        verdict.goodAfter(this.upstream.verdictMs)
      }
    })
  }

  /** Nobody wants its answer: the connection is free again when that has come, unless it is long. */
  discard(): void {
    this.#responseBody?.dump().catch(() => {})
  }

  #take(data: Dispatcher.ResponseData<unknown>): void {
    // destroyed by its reader without listening, or broken off unread: no reason to end the process
    this.#responseBody = data.body.on('error', () => {})
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
      call.outboundQueue?.leave(this.#host.now())
    }
  }

  #neverSent(error: unknown): void {
    this.#requestBody?.drop()
    this.#end(resultOfError(error), blameOfError(error))
  }

  /** @param error what it failed with, if not with an answer */
  #end(result: AttemptResult, blame: Blame, error?: Error): void {
    if (this.endMs !== 0) return
    this.endMs = this.#host.now()
    const { call, upstream } = this
    call.lifetime.remove(this)
    if (this.dispatchMs !== 0) call.outbound?.leave(this.endMs)
    upstream.note(result, blame, this.dispatchMs === 0 ? undefined : this.endMs - this.dispatchMs)
    if (this.#holdsSlot) upstream.slots.release()
    this.#judge(blame, error)
    this.#host.ended(this, blame)
  }

  /** An answer that began well and was left by its reader is a good one. */
  #judge(blame: Blame, error: Error | undefined): void {
    const verdict = this.#verdict
    if (verdict === undefined) return
    if (error === undefined || (this.answerMs !== 0 && blame !== 'upstream')) verdict.good()
    else if (verdict.isEarly) this.upstream.reportLate(error)
    else verdict.bad(error)
  }
}
