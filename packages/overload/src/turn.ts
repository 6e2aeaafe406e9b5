/** Who works on and on leaves less than this between one piece of work and the next. */
const GAP_MS = 0.25
/** Turning a request away costs a fair part of this, so holding back those that cost less is no gain. */
export const WORTH_MS = 0.1

/**
 * For how long requests have been worked on one right after the other, so that the event loop saw
 * nothing else. Handlers that never wait are over before the next request is seen: counting how many
 * are in flight tells nothing of them, but those that wait in the sockets meanwhile notice.
 */
export class Turn {
  readonly #mostMs: number
  #sinceMs = -Infinity
  #untilMs = -Infinity
  #begun = 0

  /** @param mostMs work should not go on for longer */
  constructor(mostMs: number) {
    this.#mostMs = mostMs
  }

  /** Whether work has gone on for too long, by requests that are worth holding back. */
  isOver(nowMs: number): boolean {
    this.see(nowMs)
    const goneOnMs = nowMs - this.#sinceMs
    return goneOnMs >= this.#mostMs && goneOnMs >= this.#begun * WORTH_MS
  }

  /** A request is let in. */
  begin(): void {
    this.#begun++
  }

  /** What began when we looked last has worked all the time until now. */
  worked(nowMs: number): void {
    this.#untilMs = nowMs
  }

  /** Something happens now; whether there was work since we looked last is not known. */
  see(nowMs: number): void {
    if (nowMs - this.#untilMs > GAP_MS) {
      this.#sinceMs = nowMs
      this.#begun = 0
    }
    this.#untilMs = nowMs
  }
}
