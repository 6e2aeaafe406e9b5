/** Seconds over which the gauge is smoothed: an autoscaler should see a trend, not a moment. */
const SMOOTHED_OVER_MS = 2000

/** How full the process is, 0–1: the fuller of its places and its event loop. */
export class Saturation {
  ratio = 0
  readonly #weight: number

  /** @param everyMs how often `look` is called */
  constructor(everyMs: number) {
    this.#weight = everyMs / SMOOTHED_OVER_MS
  }

  /**
   * @param places share of the limit in use; more than 1 counts as 1
   * @param isTurningAway somebody was turned away since the last look
   */
  look(places: number, utilisation: number, isTurningAway: boolean): void {
    const now = isTurningAway ? 1 : Math.min(1, Math.max(places, utilisation))
    this.ratio += this.#weight * (now - this.ratio)
  }
}
