import type { ServerResponse } from 'node:http'
import { onGone } from './client-gone.ts'

/** Why a call, or an attempt of it, must end before its time. */
export type CancelReason = 'deadline' | 'aborted' | 'superseded' | 'closed'

/** Something under way that can be told to end. */
export interface Cancellable {
  cancel(reason: CancelReason, cause?: unknown): void
}

/** Who else may end a call, and who is told of its end. */
export interface LifetimeOptions {
  readonly signal: AbortSignal | undefined
  /** To the client that the call is made for: it ends when that goes away. */
  readonly response: ServerResponse | undefined
  /** Called once, when it has ended. */
  readonly onEnd: (lifetime: Lifetime) => void
}

/**
 * How long a call may live: until its deadline, until whoever called gives up, until the app closes.
 * Ends everything that is under way on its behalf at once.
 */
export class Lifetime {
  readonly deadlineMs: number
  #parts: Set<Cancellable> = new Set()
  #timer: NodeJS.Timeout | undefined
  readonly #onEnd: (lifetime: Lifetime) => void
  #stopListening: (() => void)[] = []
  #cancelled: { readonly reason: CancelReason; readonly cause: unknown } | undefined

  constructor(deadlineMs: number, nowMs: number, { signal, response, onEnd }: LifetimeOptions) {
    this.deadlineMs = deadlineMs
    this.#onEnd = onEnd
    const leftMs = Math.max(0, Math.ceil(deadlineMs - nowMs))
    this.#timer = setTimeout(() => this.cancel('deadline'), leftMs)
    this.#timer.unref()
    if (signal !== undefined) this.#endWith(signal)
    if (response !== undefined) {
      this.#stopListening.push(onGone(response, (error) => this.cancel('aborted', error)))
    }
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
    for (const stop of this.#stopListening) stop()
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

  #endWith(signal: AbortSignal): void {
    const onAbort = (): void => this.cancel('aborted', signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#stopListening.push(() => signal.removeEventListener('abort', onAbort))
  }
}
