import type { Attempt } from './attempt.ts'
import type { Blame } from './blame.ts'

/** Who makes attempts, and is told of them. */
export interface AttemptHost {
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** It has its place in the pool, and the breaker lets it through. */
  dispatched(attempt: Attempt): void
  /** Its answer was read or given up, or it failed. */
  ended(attempt: Attempt, blame: Blame): void
}
