const LONGEST_MS = 2 ** 31 - 1

/** One timer that rings at the earliest of the times it was set for. Does not keep a process alive. */
export class Alarm {
  readonly #now: () => number
  readonly #ring: () => void
  #timer: NodeJS.Timeout | undefined
  #atMs = Infinity

  /** @param now monotonic milliseconds */
  constructor(now: () => number, ring: () => void) {
    this.#now = now
    this.#ring = ring
  }

  /** Rings by then; an earlier time that it was set for stands. */
  setFor(atMs: number): void {
    if (atMs >= this.#atMs) return
    clearTimeout(this.#timer)
    this.#atMs = atMs
    const inMs = Math.min(LONGEST_MS, Math.max(1, Math.ceil(atMs - this.#now())))
    this.#timer = setTimeout(() => {
      this.#atMs = Infinity
      this.#ring()
    }, inMs)
    this.#timer.unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#atMs = Infinity
  }
}
