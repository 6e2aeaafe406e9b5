import type { RequestRecord } from '@fastify-vitals/metrics'
import { Attempt } from './attempt.ts'
import type { AttemptHost } from './attempt-host.ts'
import { CallBudget } from './call-budget.ts'
import { callOf, checkCall } from './call.ts'
import type { Call } from './call.ts'
import { CallPolicies } from './call-policies.ts'
import type { CallOptions, ClientResponse, HttpClient } from './call-types.ts'
import { goneError, isGone } from './client-gone.ts'
import type { ClientMeter, RetryReason } from './client-metrics.ts'
import { CallAbortedError, ClientClosedError, DeadlineError } from './errors.ts'
import { FailedStatus } from './failed-status.ts'
import { raceWithHedge } from './hedged.ts'
import { Lifetime } from './lifetime.ts'
import type { CancelReason } from './lifetime.ts'
import type { ResolvedClientOptions } from './option-types.ts'
import type { Origins } from './origins.ts'
import { dropBody } from './request-body.ts'

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
  readonly #policies: CallPolicies
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
    this.#policies = new CallPolicies(options, this.#budget, parts.random)
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
      return await this.#untilDone(call)
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
    const call = callOf(given, this.options, this.#policies, record, nowMs, where)
    if (call.allowedMs <= 0) throw new DeadlineError(0, where, false)
    const onEnd = this.#forget
    call.lifetime = new Lifetime(call.deadlineMs, nowMs, { signal, response, onEnd })
    this.#lifetimes.add(call.lifetime)
    meter.calls.add()
    return call
  }

  async #untilDone(call: Call): Promise<ClientResponse> {
    const { retries } = call.policy
    for (;;) {
      const { answer, error } = await this.#round(call)
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
  async #round(call: Call): Promise<Round> {
    const { hedgeDelayMs } = call.policy
    const delayMs = hedgeDelayMs?.()
    const first = this.#attempt(call)
    try {
      const answer =
        delayMs === undefined ? await first.run() : await this.#raced(call, first, delayMs)
      if (hedgeDelayMs !== undefined) {
        this.#policies.hedge.observe(this.#parts.now() - first.dispatchMs)
      }
      return { answer }
    } catch (error) {
      return error instanceof FailedStatus ? { answer: error.attempt } : { error }
    }
  }

  async #raced(call: Call, first: Attempt, delayMs: number): Promise<Attempt> {
    return await raceWithHedge({
      first,
      another: () => this.#attempt(call),
      delayMs,
      mayHedge: () => this.#mayHedge(),
      onWon: () => this.#parts.meter.hedgesWon.add()
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

  /** Not where it would only wait for our own pool. */
  #mayHedge(): boolean {
    const { meter, now } = this.#parts
    if (!this.origins.hasRoom) return false
    const isAllowed = this.#policies.hedge.allow(now())
    if (isAllowed) meter.hedges.add()
    else meter.refusals.hedge.add()
    return isAllowed
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
