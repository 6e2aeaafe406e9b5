import type { RetryBudget } from './retry-budget.ts'

/** When a call is late. */
export interface HedgeDelay {
  /** Milliseconds after which a second call is made, or `p95`: what 95 % of calls take at most. */
  readonly delay: number | 'p95'
  /** Least delay with `p95`, for upstreams so fast that 5 % of calls are only noise. */
  readonly minDelayMs: number
}

export interface HedgeOptions extends HedgeDelay {
  /** What second calls are taken from: the pool's budget of retries, or one of its own. */
  readonly budget: RetryBudget
}

const SAMPLES = 512
/** Before so many calls were seen, p95 means nothing and nothing is hedged. */
const MIN_SAMPLES = 20
/** Sorting 512 numbers takes about 20 µs: every 32 calls, below 1 µs a call. */
const SORT_EVERY = 32

/**
 * When to send a call a second time because the first is late, and whether that is allowed.
 *
 * With `p95` it learns from the last 512 calls; 5 % of calls are then hedged, and when the whole
 * upstream becomes slow the budget stops it from being called twice as often.
 * @see Dean and Barroso, The Tail at Scale, 2013
 */
export class Hedge {
  readonly #options: HedgeOptions
  readonly #latencies = new Float64Array(SAMPLES)
  #seen = 0
  #p95: number | undefined

  constructor(options: HedgeOptions) {
    this.#options = options
  }

  /**
   * How long a first attempt took. When it was given up because the second one answered before,
   * the time until then: leaving it out would make the upstream look faster than it is.
   */
  observe(latencyMs: number): void {
    this.#latencies[this.#seen % SAMPLES] = latencyMs
    this.#seen++
    if (this.#seen === MIN_SAMPLES || this.#seen % SORT_EVERY === 0) this.#p95 = this.#percentile()
  }

  /**
   * Milliseconds from the start of the first attempt; `undefined` while too little is known.
   * @param own of one call, instead of what holds for all
   */
  delayMs({ delay, minDelayMs }: HedgeDelay = this.#options): number | undefined {
    if (delay !== 'p95') return delay
    return this.#p95 === undefined ? undefined : Math.max(this.#p95, minDelayMs)
  }

  /**
   * Asked when the delay is over and no answer came. Takes the second call from the budget.
   * @param nowMs monotonic milliseconds
   */
  allow(nowMs: number): boolean {
    return this.#options.budget.withdraw(nowMs)
  }

  #percentile(): number {
    const sorted = this.#latencies.subarray(0, Math.min(this.#seen, SAMPLES)).toSorted()
    return sorted[Math.ceil(sorted.length * 0.95) - 1]!
  }
}
