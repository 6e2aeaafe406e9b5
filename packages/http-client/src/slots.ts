/** One who waits for a slot. */
export interface Waiter {
  /** Monotonic milliseconds. */
  sinceMs: number
  /** Called once, with why there is none, or without anything when there is one. */
  settle(refusal?: 'full' | 'timeout' | 'closed'): void
}

export interface SlotsOptions {
  /** Slots in all. */
  readonly limit: number
  readonly maxQueue: number
  readonly queueTimeoutMs: number
}

/**
 * Places in a pool of connections, first come, first served. The queue is ours and not undici's, so
 * that waiting for our own pool is told from waiting for the upstream; it is bounded in length and
 * time. One timer for all who wait, and none while nobody does.
 */
export class Slots {
  running = 0
  readonly #options: SlotsOptions
  readonly #now: () => number
  /** In the order of their coming. */
  readonly #waiting = new Set<Waiter>()
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: SlotsOptions, now: () => number) {
    this.#options = options
    this.#now = now
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Whether there is one for who comes now: not when others wait already. */
  get hasRoom(): boolean {
    return !this.#isClosed && this.running < this.#options.limit && this.#waiting.size === 0
  }

  /** Takes a slot without waiting. @returns false when there is none */
  tryTake(): boolean {
    if (!this.hasRoom) return false
    this.running++
    return true
  }

  /** Waits for a slot; must not be called before `tryTake` failed. */
  wait(waiter: Waiter): void {
    if (this.#isClosed) return waiter.settle('closed')
    if (this.#waiting.size >= this.#options.maxQueue) return waiter.settle('full')
    waiter.sinceMs = this.#now()
    this.#waiting.add(waiter)
    if (this.#timer === undefined) this.#wakeIn(this.#options.queueTimeoutMs)
  }

  /** Takes out one who no longer wants to wait; it is not settled. */
  leave(waiter: Waiter): void {
    this.#waiting.delete(waiter)
  }

  /** Gives a slot back: who waits longest gets it. */
  release(): void {
    for (const waiter of this.#waiting) {
      this.#waiting.delete(waiter)
      waiter.settle()
      return
    }
    this.running--
  }

  /** Nobody gets a slot any more; who waits is told. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const waiter of this.#waiting) {
      this.#waiting.delete(waiter)
      waiter.settle('closed')
    }
  }

  #wakeIn(ms: number): void {
    this.#timer = setTimeout(() => this.#wake(), Math.max(1, Math.ceil(ms)))
    this.#timer.unref()
  }

  #wake(): void {
    this.#timer = undefined
    const lateMs = this.#now() - this.#options.queueTimeoutMs
    for (const waiter of this.#waiting) {
      if (waiter.sinceMs > lateMs) {
        if (this.#timer === undefined) this.#wakeIn(waiter.sinceMs - lateMs)
        return
      }
      this.#waiting.delete(waiter)
      waiter.settle('timeout')
    }
  }
}
