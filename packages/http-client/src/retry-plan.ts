import type { Call } from './call.ts'
import type { ClientResponse } from './call-types.ts'
import { UpstreamError, UpstreamTimeoutError } from './errors.ts'
import type { ResolvedRetry } from './option-types.ts'
import { fullJitter, retryAfterMs } from './policies/backoff.ts'
import { judgeRetry } from './policies/retry-policy.ts'
import type { RetryRules } from './policies/retry-policy.ts'

/** What a round of attempts came to. */
export type RoundOutcome =
  | { readonly response: ClientResponse; readonly error?: undefined }
  | { readonly response?: undefined; readonly error: unknown }

/** Whether and when a call is tried again. The budget is asked by others, and last. */
export class RetryPlan {
  readonly #options: ResolvedRetry
  readonly #rules: RetryRules
  readonly #random: () => number

  constructor(options: ResolvedRetry, random: () => number) {
    this.#options = options
    this.#random = random
    this.#rules = {
      methods: new Set(options.methods.map((method) => method.toUpperCase())),
      statuses: new Set(options.statuses),
      maxAttempts: options.maxAttempts,
      maxElapsedMs: options.maxElapsedMs
    }
  }

  /** @returns milliseconds to wait before the next attempt; `undefined` when there must be none */
  waitMs(call: Call, { response, error }: RoundOutcome, nowMs: number): number | undefined {
    // nearly all answers end here
    if (response !== undefined && !this.#rules.statuses.has(response.status)) return undefined
    const askedMs = response === undefined ? 0 : pauseAskedFor(response)
    if (askedMs > this.#options.maxRetryAfterMs) return undefined
    const waitMs = askedMs + fullJitter(call.attempts, this.#options, this.#random)
    if (nowMs + waitMs >= call.deadlineMs) return undefined
    const verdict = judgeRetry(this.#rules, {
      method: call.method,
      idempotent: call.isIdempotent,
      replayable: call.isReplayable,
      attempts: call.attempts,
      elapsedMs: nowMs - call.startMs,
      waitMs,
      ...(response === undefined ? { error: causeOf(error) } : { statusCode: response.status })
    })
    return verdict === 'retry' ? waitMs : undefined
  }
}

/** By the upstream's own clock where it tells it. */
function pauseAskedFor({ headers }: ClientResponse): number {
  const value = [headers['retry-after']].flat()[0]
  if (value === undefined) return 0
  const dateMs = Date.parse(String(headers['date']))
  return retryAfterMs(value, Number.isNaN(dateMs) ? Date.now() : dateMs) ?? 0
}

/** Of what the upstream did, the error of the system is what tells more; all else is final. */
function causeOf(error: unknown): unknown {
  const isUpstreams = error instanceof UpstreamError || error instanceof UpstreamTimeoutError
  return isUpstreams ? error.cause : undefined
}
