import { wasBroken, wasNeverSent } from './connection-errors.ts'

/** Safe to send twice by RFC 9110 section 9.2.2, but TRACE, which nobody retries. */
export const IDEMPOTENT_METHODS: readonly string[] = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']

/** Not 500: more often a fault that comes again than one that passes. */
export const RETRY_STATUSES: readonly number[] = [408, 425, 429, 502, 503, 504]

export interface RetryRules {
  /** Upper case. */
  readonly methods: ReadonlySet<string>
  readonly statuses: ReadonlySet<number>
  /** Attempts in all, the first one included. */
  readonly maxAttempts: number
  /** Time in all, from the start of the first attempt to the start of the last. */
  readonly maxElapsedMs: number
}

/** An attempt that has ended. Exactly one of `statusCode` and `error` is given. */
export interface AttemptOutcome {
  readonly method: string
  /**
   * What the caller says of it, or that it sent an `Idempotency-Key`: see {@link hasIdempotencyKey}.
   * Left out, its method tells.
   */
  readonly idempotent?: boolean | undefined
  /** See {@link isReplayable}. */
  readonly replayable: boolean
  /** Attempts made so far, from 1. */
  readonly attempts: number
  /** Since the start of the first attempt. */
  readonly elapsedMs: number
  /** How long the retry would wait first. */
  readonly waitMs: number
  readonly statusCode?: number | undefined
  readonly error?: unknown
  /** The caller has seen some of the answer already: it can't be taken back. */
  readonly answerBegun?: boolean | undefined
}

/** `retry`, or why not. */
export type RetryVerdict =
  | 'retry'
  | 'not_retryable'
  | 'answer_begun'
  | 'body_not_replayable'
  | 'not_idempotent'
  | 'max_attempts'
  | 'max_elapsed'

/**
 * Whether an attempt may be made again. The budget is not asked: withdraw from it last, when
 * everything else says yes.
 *
 * Never when the body can't be sent again or the answer has begun. A method that is not idempotent
 * only when the caller vouches for it, or the connection was never made, so that the upstream can't
 * have seen anything.
 */
export function judgeRetry(rules: RetryRules, outcome: AttemptOutcome): RetryVerdict {
  if (!mayPass(rules, outcome)) return 'not_retryable'
  if (outcome.answerBegun === true) return 'answer_begun'
  if (!outcome.replayable) return 'body_not_replayable'
  if (!isSafe(rules, outcome)) return 'not_idempotent'
  if (outcome.attempts >= rules.maxAttempts) return 'max_attempts'
  return outcome.elapsedMs + outcome.waitMs <= rules.maxElapsedMs ? 'retry' : 'max_elapsed'
}

/** Whether another attempt could end better. */
function mayPass(rules: RetryRules, { statusCode, error }: AttemptOutcome): boolean {
  if (statusCode !== undefined) return rules.statuses.has(statusCode)
  return wasBroken(error)
}

/** Whether another attempt can't do harm. */
function isSafe(rules: RetryRules, outcome: AttemptOutcome): boolean {
  if (outcome.idempotent ?? rules.methods.has(outcome.method)) return true
  return outcome.statusCode === undefined && wasNeverSent(outcome.error)
}

/** Whether a body can be sent twice: all that is in memory, no stream and no iterator. */
export function isReplayable(body: unknown): boolean {
  if (body === undefined || body === null || typeof body === 'string') return true
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) return true
  return body instanceof URLSearchParams || body instanceof Blob || body instanceof FormData
}

/** The forms in which undici takes headers. */
export type HeadersLike =
  | Readonly<Record<string, unknown>>
  | readonly string[]
  | Iterable<readonly [string, unknown]>
  | null
  | undefined

/** @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/ */
export function hasIdempotencyKey(headers: HeadersLike): boolean {
  for (const [name, value] of headerPairs(headers)) {
    if (name.toLowerCase() === 'idempotency-key' && value) return true
  }
  return false
}

function* headerPairs(headers: HeadersLike): Generator<readonly [string, unknown]> {
  if (headers === null || headers === undefined) return
  if (isFlat(headers)) {
    for (let at = 0; at + 1 < headers.length; at += 2) yield [headers[at]!, headers[at + 1]]
  } else if (isPairs(headers)) {
    yield* headers
  } else {
    yield* Object.entries(headers)
  }
}

function isFlat(headers: object): headers is readonly string[] {
  return Array.isArray(headers) && typeof headers[0] === 'string'
}

function isPairs(headers: object): headers is Iterable<readonly [string, unknown]> {
  return Symbol.iterator in headers
}
