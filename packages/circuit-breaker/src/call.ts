import type { BreakerCall } from './breaker-types.ts'
import type { Timed } from './deadlines.ts'

/** One call through a breaker, from when it was let in until its work has ended. */
export class Call implements BreakerCall, Timed {
  /** Monotonic milliseconds. */
  startMs: number
  /** The period of its breaker in which it began; -1 when it is not to be judged. */
  period: number
  /** Whether it is known how it went; its work may still go on, after a time-out. */
  isOver: boolean
  /** Whether it is among the deadlines. */
  isTimed: boolean
  previous: Timed | undefined
  next: Timed | undefined
  #controller: AbortController | undefined
  #abortedBy: Error | undefined

  constructor() {
    this.startMs = 0
    this.period = -1
    this.isOver = false
    this.isTimed = false
    this.previous = undefined
    this.next = undefined
    this.#controller = undefined
    this.#abortedBy = undefined
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#abortedBy !== undefined) this.#controller.abort(this.#abortedBy)
    }
    return this.#controller.signal
  }

  /** @param error the reason that `signal` gives */
  abort(error: Error): void {
    this.#abortedBy ??= error
    this.#controller?.abort(error)
  }

  /** Whether a time-out means anything to it now. */
  mayTimeOut(): boolean {
    return true
  }

  /** It took too long, or its breaker shut down. */
  giveUp(error: Error): void {
    this.abort(error)
  }
}
