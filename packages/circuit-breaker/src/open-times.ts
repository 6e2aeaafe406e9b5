export interface OpenTimesOptions {
  readonly openMs: number
  readonly openMsMultiplier: number
  readonly maxOpenMs: number
  readonly jitterRatio: number
}

/** How long a circuit stays open: longer each time its probes fail, up to a most, spread at random. */
export class OpenTimes {
  readonly #options: OpenTimesOptions
  readonly #random: () => number
  #failedTrials = 0

  /** @param random gives numbers in [0, 1) */
  constructor(options: OpenTimesOptions, random: () => number) {
    this.#options = options
    this.#random = random
  }

  /** Milliseconds, at most `maxOpenMs`. */
  next(): number {
    const { openMs, openMsMultiplier, maxOpenMs, jitterRatio } = this.#options
    const grownMs = Math.min(maxOpenMs, openMs * openMsMultiplier ** this.#failedTrials++)
    const spread = 1 + jitterRatio * (2 * this.#random() - 1)
    return Math.min(maxOpenMs, grownMs * spread)
  }

  /** All is well again: the next time is the first. */
  reset(): void {
    this.#failedTrials = 0
  }
}
