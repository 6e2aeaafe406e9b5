/**
 * Counts of the calls of the last `windowMs`, as a ring of buckets with running totals.
 *
 * Old buckets are taken off when the next call comes, so it needs no timer and is right after any
 * pause. Moves by a bucket: it covers between `windowMs` less one bucket, and `windowMs`.
 * Time: constant, and at most one pass over the buckets after a pause. Space: 12 bytes a bucket.
 */
export class CallWindow {
  calls = 0
  failures = 0
  slowCalls = 0
  readonly #bucketMs: number
  readonly #calls: Uint32Array
  readonly #failures: Uint32Array
  readonly #slowCalls: Uint32Array
  #at = 0
  /** When the newest bucket ends. */
  #endMs: number

  /** @param nowMs monotonic milliseconds */
  constructor(windowMs: number, buckets: number, nowMs: number) {
    this.#bucketMs = windowMs / buckets
    this.#calls = new Uint32Array(buckets)
    this.#failures = new Uint32Array(buckets)
    this.#slowCalls = new Uint32Array(buckets)
    this.#endMs = nowMs + this.#bucketMs
  }

  record(nowMs: number, isFailure: boolean, isSlow: boolean): void {
    this.advance(nowMs)
    const at = this.#at
    this.calls++
    this.#calls[at]!++
    if (isFailure) {
      this.failures++
      this.#failures[at]!++
    }
    if (isSlow) {
      this.slowCalls++
      this.#slowCalls[at]!++
    }
  }

  /** Takes off what is too old at `nowMs`. */
  advance(nowMs: number): void {
    if (nowMs < this.#endMs) return
    const passed = Math.floor((nowMs - this.#endMs) / this.#bucketMs) + 1
    const buckets = this.#calls.length
    for (let step = Math.min(passed, buckets); step > 0; step--)
      this.#evict((this.#at + 1) % buckets)
    this.#endMs += passed * this.#bucketMs
  }

  reset(): void {
    for (const counts of [this.#calls, this.#failures, this.#slowCalls]) counts.fill(0)
    this.calls = this.failures = this.slowCalls = 0
  }

  /** The oldest bucket becomes the newest, and empty. */
  #evict(oldest: number): void {
    this.#at = oldest
    this.calls -= this.#calls[oldest]!
    this.failures -= this.#failures[oldest]!
    this.slowCalls -= this.#slowCalls[oldest]!
    this.#calls[oldest] = this.#failures[oldest] = this.#slowCalls[oldest] = 0
  }
}
