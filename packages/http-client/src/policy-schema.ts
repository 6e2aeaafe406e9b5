import Type from 'typebox'
import { IDEMPOTENT_METHODS, RETRY_STATUSES } from './policies/retry-policy.ts'
import { MAX_MS, milliseconds, whole } from './schema-parts.ts'

/** Retries. */
export const retry: Type.TProperties = {
  maxAttempts: whole('attempts in all, the first one included', 1, 20, { default: 3 }),
  baseMs: milliseconds('longest pause before the first retry; it doubles with each', 50),
  maxMs: milliseconds('longest pause of all', 2000),
  maxElapsedMs: milliseconds(
    'no retry begins later than so many milliseconds after the call',
    20_000
  ),
  maxRetryAfterMs: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: MAX_MS,
      default: 10_000,
      description: 'an upstream that asks by Retry-After for a longer pause is not asked again'
    })
  ),
  methods: Type.Optional(
    Type.Array(Type.String({ minLength: 1 }), {
      default: [...IDEMPOTENT_METHODS],
      description:
        'methods that may be sent twice; others only with idempotent or an Idempotency-Key'
    })
  ),
  statuses: Type.Optional(
    Type.Array(Type.Integer({ minimum: 400, maximum: 599 }), {
      default: [...RETRY_STATUSES],
      description: 'answers after which it is tried again'
    })
  )
}

/** Second attempts. */
export const hedge: Type.TProperties = {
  delayMs: Type.Optional(
    Type.Union([Type.Literal('p95'), Type.Number({ exclusiveMinimum: 0, maximum: MAX_MS })], {
      default: 'p95',
      description:
        'a second attempt begins when the first has no answer after so many milliseconds, or after what 95 % take at most'
    })
  ),
  minDelayMs: milliseconds('but never sooner', 10)
}

/** When an origin is taken out. */
export const outlier: Type.TProperties = {
  consecutiveFailures: whole('failures in a row after which an origin is taken out', 1, 10_000, {
    default: 5
  }),
  baseEjectionMs: milliseconds(
    'how long it is out the first time; the nth time in a row n times as long',
    10_000
  ),
  maxEjectionMs: milliseconds('longest time it is out', 300_000),
  maxEjectedShare: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: 1,
      default: 0.5,
      description: 'never more of the origins are out at once, from 0 to 1'
    })
  )
}

/** Retries of one call. */
export const retrySchema: Type.TObject = Type.Object(retry)

/** Second attempts of one call. */
export const hedgeSchema: Type.TObject = Type.Object(hedge)
