export interface RetryBudgetOptions {
  /** Retries allowed for each first attempt; 0.1 is 10 %. */
  readonly ratio: number
  /** Retries a second allowed besides, so that quiet callers get some; 0 for none. */
  readonly minPerSecond: number
}

const WINDOW_SECONDS = 10
const BUCKET_MS = 1000
/** So that 0.29 of 100 first attempts, 28.999999999999996 in floating point, buys 29 retries. */
const ROUNDING = 1e-9

/**
 * Bounds retries by a share of the first attempts of the last 10 s, so that they can't multiply
 * the load on an upstream that fails (after Finagle and tower).
 *
 * What it holds: n first attempts and all their retries are at most `n * (1 + ratio)` attempts,
 * however long it runs and whatever fails, plus `minPerSecond * 10` in any 10 s. The share is not
 * saved up: what was earned more than 10 s ago and not used is gone.
 *
 * Moves by buckets of 1 s, so it covers 9 to 10 s. Needs no timer.
 * Time: constant, and at most one pass over 10 buckets after a pause. Space: 80 bytes.
 */
export class RetryBudget {
  readonly #ratio: number
  readonly #reserve: number
  readonly #deposits = new Uint32Array(WINDOW_SECONDS)
  readonly #withdrawals = new Uint32Array(WINDOW_SECONDS)
  #deposited = 0
  #withdrawn = 0
  #at = 0
  /** When the newest bucket ends; set by the first call. */
  #endMs = -Infinity

  constructor({ ratio, minPerSecond }: RetryBudgetOptions) {
    this.#ratio = ratio
    this.#reserve = minPerSecond * WINDOW_SECONDS
  }

  /**
   * A first attempt was made. Not for retries: they would earn retries.
   * @param nowMs monotonic milliseconds
   */
  deposit(nowMs: number): void {
    this.#advance(nowMs)
    this.#deposits[this.#at]!++
    this.#deposited++
  }

  /** Takes one retry, if there is one; it is spent whether or not it is then made. */
  withdraw(nowMs: number): boolean {
    if (this.balance(nowMs) < 1) return false
    this.#withdrawals[this.#at]!++
    this.#withdrawn++
    return true
  }

  /** Retries that could be taken now. Below 0 when those that were taken outlive what earned them. */
  balance(nowMs: number): number {
    this.#advance(nowMs)
    return this.#ratio * this.#deposited + this.#reserve - this.#withdrawn + ROUNDING
  }

  #advance(nowMs: number): void {
    if (nowMs < this.#endMs) return
    if (this.#endMs === -Infinity) {
      this.#endMs = nowMs + BUCKET_MS
      return
    }
    const passed = Math.floor((nowMs - this.#endMs) / BUCKET_MS) + 1
    for (let step = Math.min(passed, WINDOW_SECONDS); step > 0; step--) this.#evict()
    this.#endMs += passed * BUCKET_MS
  }

  /** The oldest bucket becomes the newest, and empty. */
  #evict(): void {
    const oldest = (this.#at + 1) % WINDOW_SECONDS
    this.#deposited -= this.#deposits[oldest]!
    this.#withdrawn -= this.#withdrawals[oldest]!
    this.#deposits[oldest] = this.#withdrawals[oldest] = 0
    this.#at = oldest
  }
}
