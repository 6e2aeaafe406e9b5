import type { RequestRecord } from '@fastify-vitals/metrics'
import { Attempt } from './attempt.ts'
import type { AttemptHost } from './attempt.ts'
import { CallBudget } from './call-budget.ts'
import { callOf, checkCall } from './call.ts'
import type { Call } from './call.ts'
import type { CallOptions, ClientResponse, HttpClient } from './call-types.ts'
import { goneError, isGone } from './client-gone.ts'
import type { ClientMeter, RetryReason } from './client-metrics.ts'
import { CallAbortedError, ClientClosedError, DeadlineError } from './errors.ts'
import { FailedStatus } from './failed-status.ts'
import { raceWithHedge } from './hedged.ts'
import { Lifetime } from './lifetime.ts'
import type { CancelReason } from './lifetime.ts'
import { HEDGING_DEFAULTS, RETRY_DEFAULTS } from './options.ts'
import type { ResolvedClientOptions, ResolvedHedging } from './option-types.ts'
import type { Origins } from './origins.ts'
import { Hedge } from './policies/hedge.ts'
import { IDEMPOTENT_METHODS } from './policies/retry-policy.ts'
import { dropBody } from './request-body.ts'
import { RetryPlan } from './retry-plan.ts'

/** What a client stands on. */
export interface ClientParts {
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Numbers in [0, 1). */
  readonly random: () => number
  /** The request on whose behalf the calling code runs. */
  readonly currentRequest: () => RequestRecord | undefined
  readonly meter: ClientMeter
}

/** What came of an attempt and its hedge: an answer of any status, or an error. */
type Round =
  | { readonly answer: Attempt; readonly error?: undefined }
  | { readonly answer?: undefined; readonly error: unknown }

/** A named client: chooses an origin for each attempt, tries again, hedges, and gives up in time. */
export class Client implements HttpClient {
  readonly name: string
  readonly options: ResolvedClientOptions
  readonly origins: Origins
  readonly #parts: ClientParts
  readonly #budget: CallBudget
  readonly #retries: RetryPlan | undefined
  #hedge: Hedge | undefined
  readonly #lifetimes = new Set<Lifetime>()
  readonly #attempts: AttemptHost
  readonly #forget = (ended: Lifetime): void => void this.#lifetimes.delete(ended)
  #isClosed = false

  constructor(name: string, options: ResolvedClientOptions, origins: Origins, parts: ClientParts) {
    this.name = name
    this.options = options
    this.origins = origins
    this.#parts = parts
    this.#budget = new CallBudget(options.retryBudget)
    const { retry } = options
    if (retry !== false) this.#retries = new RetryPlan(retry, parts.random)
    this.#attempts = {
      now: parts.now,
      dispatched: ({ call, dispatchMs }) => this.#earn(call, dispatchMs),
      ended(attempt, blame) {
        attempt.call.ended(attempt)
        if (origins.end(attempt.upstream, blame, parts.now())) parts.meter.ejections.add()
      }
    }
  }

  async request(given: CallOptions): Promise<ClientResponse> {
    let call: Call | undefined
    try {
      call = this.#begin(given)
      return await this.#untilDone(call, given)
    } catch (error) {
      call?.lifetime.end()
      dropBody(given?.body)
      throw error
    }
  }

  #begin(given: CallOptions): Call {
    const { meter, now, currentRequest } = this.#parts
    const where = { client: this.name }
    if (this.#isClosed) throw new ClientClosedError(where)
    checkCall(given, where)
    const { signal } = given
    if (signal?.aborted) throw new CallAbortedError(where, signal.reason)
    const record = currentRequest()
    const response = this.options.abortWithRequest ? record?.reply.raw : undefined
    if (response !== undefined && isGone(response)) throw new CallAbortedError(where, goneError())
    const nowMs = now()
    const call = callOf(given, this.options, record, nowMs, where)
    if (call.allowedMs <= 0) throw new DeadlineError(0, where, false)
    const onEnd = this.#forget
    call.lifetime = new Lifetime(call.deadlineMs, nowMs, { signal, response, onEnd })
    this.#lifetimes.add(call.lifetime)
    meter.calls.add()
    return call
  }

  async #untilDone(call: Call, given: CallOptions): Promise<ClientResponse> {
    const retries = this.#retriesOf(given)
    const hedge = this.#hedgeOf(call, given)
    for (;;) {
      const { answer, error } = await this.#round(call, hedge)
      const outcome = answer === undefined ? { error } : { response: answer.response }
      const waitMs = retries?.waitMs(call, outcome, this.#parts.now())
      if (waitMs === undefined || !this.#mayRetry(answer === undefined ? 'connection' : 'status')) {
        if (answer === undefined) throw error
        call.answeredBy(answer)
        return answer.response
      }
      answer?.discard()
      await call.lifetime.sleep(waitMs, (reason, cause) => this.#errorOf(call, reason, cause))
    }
  }

  /** One attempt, and maybe its hedge. */
  async #round(call: Call, hedge: Hedge | undefined): Promise<Round> {
    const delayMs = hedge?.delayMs()
    const startMs = this.#parts.now()
    try {
      const answer =
        hedge === undefined || delayMs === undefined
          ? await this.#attempt(call).run()
          : await this.#raced(call, hedge, delayMs)
      hedge?.observe(this.#parts.now() - startMs)
      return { answer }
    } catch (error) {
      return error instanceof FailedStatus ? { answer: error.attempt } : { error }
    }
  }

  async #raced(call: Call, hedge: Hedge, delayMs: number): Promise<Attempt> {
    const { meter, now } = this.#parts
    return await raceWithHedge({
      delayMs,
      launch: () => {
        const attempt = this.#attempt(call)
        return { attempt, answer: attempt.run() }
      },
      mayHedge: () => {
        const isAllowed = hedge.allow(now())
        if (isAllowed) meter.hedges.add()
        else meter.refusals.hedge.add()
        return isAllowed
      },
      onWon: () => meter.hedgesWon.add()
    })
  }

  #attempt(call: Call): Attempt {
    const upstream = this.origins.begin(call.lastIndex, this.#parts.now())
    call.lastIndex = upstream.index
    call.attempts++
    return new Attempt(call, upstream, this.#attempts)
  }

  /** Retries are a share of the calls that upstreams saw: what we refuse ourselves earns none. */
  #earn(call: Call, nowMs: number): void {
    if (call.wasDispatched) return
    call.wasDispatched = true
    this.#budget.deposit(nowMs)
  }

  #mayRetry(reason: RetryReason): boolean {
    const { meter, now } = this.#parts
    const isAllowed = this.#budget.withdraw(now())
    if (isAllowed) meter.retries[reason].add()
    else meter.refusals.retry.add()
    return isAllowed
  }

  #retriesOf({ retry }: CallOptions): RetryPlan | undefined {
    if (retry === undefined) return this.#retries
    if (retry === false) return undefined
    const base = this.options.retry === false ? RETRY_DEFAULTS : this.options.retry
    return new RetryPlan({ ...base, ...(retry === true ? {} : retry) }, this.#parts.random)
  }

  /** None for what can't be sent twice. */
  #hedgeOf(call: Call, { hedge }: CallOptions): Hedge | undefined {
    const isWanted = hedge === undefined ? this.options.hedge !== false : hedge !== false
    if (!isWanted || !call.isReplayable) return undefined
    if (!call.isIdempotent && !IDEMPOTENT_METHODS.includes(call.method)) return undefined
    const base = this.options.hedge === false ? HEDGING_DEFAULTS : this.options.hedge
    if (typeof hedge === 'object') return this.#hedgeWith({ ...base, ...hedge })
    this.#hedge ??= this.#hedgeWith(base)
    return this.#hedge
  }

  #hedgeWith({ delayMs, minDelayMs }: ResolvedHedging): Hedge {
    return new Hedge({ delay: delayMs, minDelayMs, budget: this.#budget })
  }

  /** Why a call ends between two attempts. */
  #errorOf(call: Call, reason: CancelReason, cause: unknown): Error {
    const where = { client: this.name }
    if (reason === 'aborted') return new CallAbortedError(where, cause)
    return reason === 'closed'
      ? new ClientClosedError(where)
      : new DeadlineError(call.allowedMs, where, false)
  }

  /** Refuses further calls and lets those under way end, but not for longer. */
  async close(graceMs: number): Promise<void> {
    this.#isClosed = true
    this.origins.refuse()
    const drained = this.origins.drain()
    let timer: NodeJS.Timeout | undefined
    const grace = new Promise<void>((resolve) => (timer = setTimeout(resolve, graceMs)))
    await Promise.race([drained, grace])
    clearTimeout(timer)
    for (const lifetime of this.#lifetimes) lifetime.cancel('closed')
    await this.origins.destroy()
  }
}
