/** What a limiter says of one request. Written anew for each, so read it before the next. */
export interface Verdict {
  isAllowed: boolean
  /** Place of the policy that is nearest to its limit, or that refused. */
  policy: number
  /** What is left of it. */
  remaining: number
  /** Milliseconds until it is whole again. */
  resetMs: number
  /** Milliseconds until the same request would be let in; 0 when it is. */
  waitMs: number
  /** The shared store did not answer: this instance decided by its own share. */
  isDegraded: boolean
}

export function newVerdict(): Verdict {
  return { isAllowed: true, policy: 0, remaining: 0, resetMs: 0, waitMs: 0, isDegraded: false }
}

/** Whole seconds that last at least as long; less than a microsecond over is a rounding of clocks. */
export function secondsOf(ms: number): number {
  return Math.ceil((ms - 0.001) / 1000)
}
