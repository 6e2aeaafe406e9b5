/** Why a call, or an attempt of it, must end before its time. */
export type CancelReason = 'deadline' | 'aborted' | 'superseded' | 'closed'

/** Something under way that can be told to end. */
export interface Cancellable {
  cancel(reason: CancelReason, cause?: unknown): void
}

/**
 * How long a call may live: until its deadline, until whoever called gives up, until the app closes.
 * Ends everything that is under way on its behalf at once.
 */
export class Lifetime {
  readonly deadlineMs: number
  #parts: Set<Cancellable> = new Set()
  #timer: NodeJS.Timeout | undefined
  readonly #signal: AbortSignal | undefined
  readonly #onAbort: (() => void) | undefined
  readonly #onEnd: (lifetime: Lifetime) => void
  #cancelled: { readonly reason: CancelReason; readonly cause: unknown } | undefined

  /** @param onEnd called once, when it has ended */
  constructor(
    deadlineMs: number,
    nowMs: number,
    signal: AbortSignal | undefined,
    onEnd: (lifetime: Lifetime) => void
  ) {
    this.deadlineMs = deadlineMs
    this.#onEnd = onEnd
    const leftMs = Math.max(0, Math.ceil(deadlineMs - nowMs))
    this.#timer = setTimeout(() => this.cancel('deadline'), leftMs)
    this.#timer.unref()
    this.#signal = signal
    if (signal === undefined) return
    this.#onAbort = () => this.cancel('aborted', signal.reason)
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** From now on the part is told; at once, when it is too late already. */
  add(part: Cancellable): void {
    if (this.#cancelled === undefined) this.#parts.add(part)
    else part.cancel(this.#cancelled.reason, this.#cancelled.cause)
  }

  remove(part: Cancellable): void {
    this.#parts.delete(part)
  }

  cancel(reason: CancelReason, cause?: unknown): void {
    if (this.#cancelled !== undefined) return
    this.#cancelled = { reason, cause }
    const parts = this.#parts
    this.#parts = new Set()
    for (const part of parts) part.cancel(reason, cause)
  }

  /** Nothing is under way any more. */
  end(): void {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#onAbort !== undefined) this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#onEnd(this)
  }

  /** @param errorOf what to reject with when it is cancelled meanwhile */
  sleep(ms: number, errorOf: (reason: CancelReason, cause: unknown) => Error): Promise<void> {
    return new Promise((resolve, reject) => {
      const part: Cancellable = {
        cancel(reason, cause) {
          clearTimeout(timer)
          reject(errorOf(reason, cause))
        }
      }
      const timer = setTimeout(() => {
        this.remove(part)
        resolve()
      }, Math.ceil(ms))
      timer.unref()
      this.add(part)
    })
  }
}
