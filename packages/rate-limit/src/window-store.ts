interface Window {
  count: number
  readonly endsAtMs: number
}

/** What a fixed window says of a key after a request. */
export interface WindowState {
  /** Cost of the requests let in; `max + 1` when this one was not. */
  readonly current: number
  /** Milliseconds until the window ends. */
  readonly ttl: number
}

/**
 * Counts by key in fixed windows, each begun by its first request. As all windows are of one length,
 * the order in which they began is the order in which they end: what ended is dropped from the
 * front, two a call, and so is what must go when there are too many.
 */
export class WindowStore {
  /** Keys lost before their time because there were too many. */
  evicted = 0
  readonly #windowMs: number
  readonly #max: number
  readonly #maxKeys: number
  readonly #windows = new Map<string, Window>()

  constructor(max: number, windowMs: number, maxKeys: number) {
    this.#max = max
    this.#windowMs = windowMs
    this.#maxKeys = maxKeys
  }

  get size(): number {
    return this.#windows.size
  }

  /** Lets a request in if its cost still fits. What does not fit is not counted. */
  take(key: string, cost: number, nowMs: number): WindowState {
    const window = this.#windowOf(key, nowMs)
    const fits = window.count + cost <= this.#max
    if (fits) window.count += cost
    return { current: fits ? window.count : this.#max + 1, ttl: window.endsAtMs - nowMs }
  }

  /** Gives back what `take` took, when something else refused the request. */
  giveBack(key: string, cost: number): void {
    const window = this.#windows.get(key)
    if (window !== undefined) window.count = Math.max(0, window.count - cost)
  }

  remove(key: string): boolean {
    return this.#windows.delete(key)
  }

  /** Drops all windows that have ended, at most so many. */
  sweep(nowMs: number, most: number): void {
    let left = most
    for (const [key, { endsAtMs }] of this.#windows) {
      if (endsAtMs > nowMs || left-- === 0) return
      this.#windows.delete(key)
    }
  }

  #windowOf(key: string, nowMs: number): Window {
    const known = this.#windows.get(key)
    if (known !== undefined && known.endsAtMs > nowMs) return known
    // an ended one is taken out first, so that the new one goes to the end of the order
    this.#windows.delete(key)
    this.sweep(nowMs, 2)
    if (this.#windows.size >= this.#maxKeys) this.#evictFirst()
    const window = { count: 0, endsAtMs: nowMs + this.#windowMs }
    this.#windows.set(key, window)
    return window
  }

  #evictFirst(): void {
    for (const key of this.#windows.keys()) {
      this.#windows.delete(key)
      this.evicted++
      return
    }
  }
}
