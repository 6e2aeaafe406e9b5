import type { CallResult } from './breaker-types.ts'

/** Where a breaker counts its calls. */
export interface Meter {
  count(result: CallResult): void
  /** @param seconds how long a call took that was let in */
  record(seconds: number): void
  totals(): Readonly<Record<CallResult, number>>
}
