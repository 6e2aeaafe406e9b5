import type { Test } from 'tap'

interface FakeTimer {
  readonly atMs: number
  readonly run: () => void
  unref(): FakeTimer
}

/** Clock and timers that stand still until a test moves them, for one test. */
export class FakeTime {
  readonly #timers = new Set<FakeTimer>()
  #nowMs = 0

  /** Monotonic milliseconds, for handing on as a function. */
  readonly now: () => number = () => this.#nowMs

  constructor(t: Test) {
    const { setTimeout: realSet, clearTimeout: realClear } = globalThis
    globalThis.setTimeout = ((run: () => void, ms: number = 0) => this.#set(run, ms)) as never
    globalThis.clearTimeout = ((timer: FakeTimer) => void this.#timers.delete(timer)) as never
    t.teardown(() => {
      globalThis.setTimeout = realSet
      globalThis.clearTimeout = realClear
    })
  }

  /** How many timers are set. */
  get pending(): number {
    return this.#timers.size
  }

  /** Runs what falls due on the way, each at its own time, and lets promises settle. */
  async advance(ms: number): Promise<void> {
    this.jump(ms)
    await settled()
  }

  /** The same without waiting for promises. */
  jump(ms: number): void {
    const endMs = this.#nowMs + ms
    for (let next = this.#next(endMs); next !== undefined; next = this.#next(endMs)) {
      this.#timers.delete(next)
      this.#nowMs = next.atMs
      next.run()
    }
    this.#nowMs = endMs
  }

  #set(run: () => void, ms: number): FakeTimer {
    const timer: FakeTimer = { atMs: this.#nowMs + ms, run, unref: () => timer }
    this.#timers.add(timer)
    return timer
  }

  #next(endMs: number): FakeTimer | undefined {
    const due = [...this.#timers].filter(({ atMs }) => atMs <= endMs)
    return due.toSorted((a, b) => a.atMs - b.atMs)[0]
  }
}

/** After everything that promises have set off. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
