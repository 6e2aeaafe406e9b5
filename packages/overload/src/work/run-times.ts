/** Weight of the newest job. */
const WEIGHT = 0.2
const LONGEST_MS = 60_000

/** How long jobs take, as a moving average: what a refused caller is told to wait rests on it. */
export class RunTimes {
  #averageMs: number | undefined

  add(ms: number): void {
    this.#averageMs =
      this.#averageMs === undefined ? ms : this.#averageMs + WEIGHT * (ms - this.#averageMs)
  }

  /**
   * How long so many jobs take, so many at once.
   * @returns milliseconds, a minute at most; 0 when no job has ended yet
   */
  expectedMs(jobs: number, atOnce: number): number {
    return Math.min(LONGEST_MS, ((this.#averageMs ?? 0) * jobs) / atOnce)
  }
}
