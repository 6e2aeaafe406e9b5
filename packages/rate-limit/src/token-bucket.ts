/**
 * Rounding may not cost anybody a request: a bucket that lacks less than this share of a token counts
 * as having it. Far below what a clock can tell.
 */
const ROUNDING = 1e-6

/**
 * The arithmetic of one token bucket. Refill is computed from the time that passed, so an idle key
 * costs no timer and its state is one number: the moment at which its bucket is full again. A key
 * whose moment has passed is the same as one never seen.
 *
 * Generic cell rate algorithm. @see ITU-T I.371
 */
export class TokenBucket {
  readonly #tokenMs: number
  readonly #fullMs: number
  readonly #roundingMs: number

  /**
   * @param tokensPerSecond more than 0
   * @param size most tokens at a time, at least 1
   */
  constructor(tokensPerSecond: number, size: number) {
    this.#tokenMs = 1000 / tokensPerSecond
    this.#fullMs = this.#tokenMs * size
    this.#roundingMs = this.#tokenMs * ROUNDING
  }

  /** State after `cost` tokens are taken, were they there. */
  take(fullAtMs: number, nowMs: number, cost: number): number {
    return (fullAtMs > nowMs ? fullAtMs : nowMs) + cost * this.#tokenMs
  }

  /** @returns milliseconds until a state that `take` gave is lawful; 0 when it is now */
  waitMs(fullAtMs: number, nowMs: number): number {
    const waitMs = fullAtMs - nowMs - this.#fullMs
    return waitMs <= this.#roundingMs ? 0 : waitMs
  }

  /** Whole tokens that are there. */
  tokens(fullAtMs: number, nowMs: number): number {
    const missingMs = fullAtMs > nowMs ? fullAtMs - nowMs : 0
    const tokens = Math.floor((this.#fullMs - missingMs) / this.#tokenMs + ROUNDING)
    return tokens > 0 ? tokens : 0
  }
}
