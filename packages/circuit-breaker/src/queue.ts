import { Deadlines } from './deadlines.ts'
import type { Timed } from './deadlines.ts'

class Waiter implements Timed {
  readonly startMs: number
  previous: Timed | undefined
  next: Timed | undefined
  readonly goOn: (isLetIn: boolean) => void

  constructor(startMs: number, goOn: (isLetIn: boolean) => void) {
    this.startMs = startMs
    this.previous = undefined
    this.next = undefined
    this.goOn = goOn
  }
}

/** Calls that wait until another has ended: first come, first served, and not for ever. */
export class Queue {
  readonly #most: number
  readonly #now: () => number
  readonly #waiters: Deadlines<Waiter>

  /**
   * @param most how many may wait
   * @param timeoutMs how long they wait
   * @param now monotonic milliseconds
   */
  constructor(most: number, timeoutMs: number, now: () => number) {
    this.#most = most
    this.#now = now
    this.#waiters = new Deadlines(timeoutMs, now, (waiter) => waiter.goOn(false))
  }

  get size(): number {
    return this.#waiters.size
  }

  get hasRoom(): boolean {
    return this.size < this.#most
  }

  /** @param goOn called once: with false when it waited too long, or the queue closed */
  add(goOn: (isLetIn: boolean) => void): void {
    this.#waiters.add(new Waiter(this.#now(), goOn))
  }

  /** Lets the first one go on at once, so that nobody else takes its place. */
  letOneIn(): void {
    this.#waiters.shift()?.goOn(true)
  }

  close(): void {
    for (const waiter of this.#waiters.close()) waiter.goOn(false)
  }
}
