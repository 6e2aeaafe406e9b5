/**
 * What a circuit breaker is told of an attempt, once: good when the answer has ended, or has gone on
 * for a while, so that it is not kept waiting by streams; bad as soon as that is known.
 */
export class Verdict {
  readonly given: Promise<void>
  /** It was good, before all of the answer had come. */
  isEarly = false
  #resolve!: () => void
  #reject!: (error: unknown) => void
  #timer: NodeJS.Timeout | undefined
  #isGiven = false

  constructor() {
    this.given = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  good(): void {
    this.#end()
    this.#resolve()
  }

  bad(error: unknown): void {
    this.#end()
    this.#reject(error)
  }

  /** The answer has begun, and looks good. Most have ended by the next turn and need no timer. */
  goodAfter(ms: number): void {
    queueMicrotask(() => {
      if (this.#isGiven) return
      this.#timer = setTimeout(() => {
        this.isEarly = true
        this.good()
      }, ms)
      this.#timer.unref()
    })
  }

  #end(): void {
    this.#isGiven = true
    clearTimeout(this.#timer)
  }
}
