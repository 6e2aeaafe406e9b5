/**
 * Whether a queue stands, as opposed to one that takes up a burst: one that was never empty for a
 * whole interval stands, until an interval passes in which nobody had to be turned away.
 *
 * A queue that stands is served newest first, and nobody waits in it for long: who came late anyway
 * would be given up by its client soon, and serving it makes everybody else late too.
 * @see https://queue.acm.org/detail.cfm?id=2839461 (controlled delay, adaptive LIFO)
 */
export class Stress {
  isStanding = false
  readonly #intervalMs: number
  #startedMs = -Infinity
  #wasEmpty = true
  #turnedAway = false

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs
  }

  /** Call when something changes. @param isEmpty whether nobody waits just now */
  look(isEmpty: boolean, nowMs: number): void {
    if (isEmpty) this.#wasEmpty = true
    if (nowMs - this.#startedMs < this.#intervalMs) return
    this.isStanding = !this.#wasEmpty || (this.isStanding && this.#turnedAway)
    this.#startedMs = nowMs
    this.#wasEmpty = isEmpty
    this.#turnedAway = false
  }

  turnedAway(): void {
    this.#turnedAway = true
  }
}
