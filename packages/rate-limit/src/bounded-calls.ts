import { VitalsError } from '@fastify-vitals/metrics'

interface Pending {
  readonly deadlineMs: number
  isOver: boolean
  giveUp(): void
}

/** How a call to the store failed. */
export type CallFailure = 'timeout' | 'error' | 'unavailable'

/** A call was given up: it took too long, or too many wait already. */
export class CallGivenUpError extends VitalsError {
  readonly reason: CallFailure

  constructor(reason: CallFailure, message: string) {
    super('VITALS_STORE_UNAVAILABLE', message)
    this.name = 'CallGivenUpError'
    this.reason = reason
  }
}

/**
 * Calls that may take so long and no longer, and of which there may be so many at a time. As they
 * all may take the same time, the first to begin is the first to end: one timer serves all.
 */
export class BoundedCalls {
  readonly #timeoutMs: number
  readonly #most: number
  readonly #now: () => number
  #pending: Pending[] = []
  #over = 0
  #timer: NodeJS.Timeout | undefined

  constructor(timeoutMs: number, most: number, now: () => number) {
    this.#timeoutMs = timeoutMs
    this.#most = most
    this.#now = now
  }

  /**
   * @returns what `send` resolves to
   * @throws CallGivenUpError after the time-out, or at once when too many wait; else what `send` threw
   */
  run<Result>(send: () => Promise<Result>): Promise<Result> {
    if (this.#pending.length - this.#over >= this.#most) {
      return Promise.reject(
        new CallGivenUpError('unavailable', `${this.#most} calls wait for the store already`)
      )
    }
    return new Promise<Result>((resolve, reject) => {
      const call: Pending = {
        deadlineMs: this.#now() + this.#timeoutMs,
        isOver: false,
        giveUp: () =>
          reject(
            new CallGivenUpError('timeout', `the store did not answer within ${this.#timeoutMs} ms`)
          )
      }
      this.#pending.push(call)
      this.#timer ??= this.#wakeIn(this.#timeoutMs)
      send()
        .then(resolve, reject)
        .finally(() => this.#end(call))
    })
  }

  /** Gives up all calls. */
  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const call of this.#pending) {
      if (!call.isOver) call.giveUp()
      call.isOver = true
    }
    this.#pending = []
    this.#over = 0
  }

  #end(call: Pending): void {
    if (call.isOver) return
    call.isOver = true
    this.#over++
    if (this.#over > 64 && this.#over * 2 > this.#pending.length) this.#tidy()
  }

  #tidy(): void {
    this.#pending = this.#pending.filter((call) => !call.isOver)
    this.#over = 0
  }

  #wakeIn(delayMs: number): NodeJS.Timeout {
    // answers that have arrived while the loop was busy are read before anything is given up
    return setTimeout(() => setImmediate(() => this.#expire()), Math.max(1, delayMs)).unref()
  }

  #expire(): void {
    this.#timer = undefined
    this.#tidy()
    const nowMs = this.#now()
    let late = 0
    while (late < this.#pending.length && this.#pending[late]!.deadlineMs <= nowMs) late++
    const givenUp = this.#pending.splice(0, late)
    for (const call of givenUp) {
      call.isOver = true
      call.giveUp()
    }
    const [next] = this.#pending
    if (next !== undefined) this.#timer = this.#wakeIn(next.deadlineMs - nowMs)
  }
}
