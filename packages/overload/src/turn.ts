/** Who works on and on leaves less than this between one piece of work and the next. */
const GAP_MS = 0.25

/**
 * For how long requests have been worked on one right after the other, so that the event loop saw
 * nothing else. Handlers that never wait are over before the next request is seen: counting how many
 * are in flight tells nothing of them, but those that wait in the sockets meanwhile notice.
 */
export class Turn {
  #sinceMs = -Infinity
  #untilMs = -Infinity

  /**
   * Work begins.
   * @returns milliseconds since work began without a break
   */
  begin(nowMs: number): number {
    if (nowMs - this.#untilMs > GAP_MS) this.#sinceMs = nowMs
    this.#untilMs = nowMs
    return nowMs - this.#sinceMs
  }

  /** Work was done until now. */
  end(nowMs: number): void {
    this.#untilMs = nowMs
  }
}
