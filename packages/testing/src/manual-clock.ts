/** A clock that stands still until somebody moves it. Milliseconds. */
export class ManualClock {
  #nowMs = 0

  /** For handing on as a function. */
  readonly now: () => number = () => this.#nowMs

  advance(ms: number): void {
    this.#nowMs += ms
  }
}
