export interface PatienceOptions {
  /** Longest wait in a queue that takes up a burst. */
  readonly maxWaitMs: number
  /** Longest wait in a queue that stands, however long it stands. */
  readonly minWaitMs: number
  /** A queue that is not empty for so long stands. */
  readonly standingAfterMs: number
}

const LESS = 0.5
const MORE = 1.25

/**
 * How long somebody may wait: as short as keeps a queue from running dry.
 *
 * A queue takes up bursts, and runs dry in between. One that does not is too long for whatever it is
 * there for: all that come wait, and no more is done for it. So each interval in which the queue
 * never was empty takes half of the patience, each in which it was gives some back.
 * @see https://queue.acm.org/detail.cfm?id=2839461 (controlled delay, adaptive LIFO)
 */
export class Patience {
  /** Who waited for longer is turned away. */
  longestWaitMs: number
  readonly #options: PatienceOptions
  #startedMs = -Infinity
  #wasEmpty = true

  constructor(options: PatienceOptions) {
    this.#options = options
    this.longestWaitMs = options.maxWaitMs
  }

  /** Whether the queue stands: then the newest goes first, who may still be waited for. */
  get isStanding(): boolean {
    return this.longestWaitMs <= this.#options.maxWaitMs * LESS
  }

  /** Call when something changes. @param isEmpty whether nobody waits just now */
  look(isEmpty: boolean, nowMs: number): void {
    if (isEmpty) this.#wasEmpty = true
    const { maxWaitMs, minWaitMs, standingAfterMs } = this.#options
    if (nowMs - this.#startedMs < standingAfterMs) return
    const longestMs = this.longestWaitMs * (this.#wasEmpty ? MORE : LESS)
    this.longestWaitMs = Math.max(minWaitMs, Math.min(maxWaitMs, longestMs))
    this.#startedMs = nowMs
    this.#wasEmpty = isEmpty
  }
}
