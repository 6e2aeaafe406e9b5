import { ClientClosedError, PoolFullError } from './errors.ts'
import type { Whereabouts } from './errors.ts'
import type { Slots, Waiter } from './slots.ts'

/** A pool that somebody waits for. */
interface Pool {
  readonly slots: Slots
  readonly where: Whereabouts
}

/** One who waits for a place in a pool of ours, from the start. */
export class Waiting implements Waiter {
  sinceMs = 0
  /** Whether a place was given: then it must be given back. */
  isIn = false
  /** Rejects with PoolFullError, ClientClosedError, or what `leave` was told. */
  readonly over: Promise<void>
  readonly #pool: Pool
  #resolve!: () => void
  #reject!: (error: Error) => void

  constructor(pool: Pool) {
    this.#pool = pool
    this.over = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    pool.slots.wait(this)
  }

  settle(refusal?: 'full' | 'timeout' | 'closed'): void {
    if (refusal !== undefined) return this.#reject(this.#errorOf(refusal))
    this.isIn = true
    this.#resolve()
  }

  /** It waits no longer; without effect when it is over. */
  leave(error: Error): void {
    this.#pool.slots.leave(this)
    this.#reject(error)
  }

  #errorOf(refusal: 'full' | 'timeout' | 'closed'): Error {
    const { where } = this.#pool
    if (refusal === 'closed') return new ClientClosedError(where)
    return refusal === 'full'
      ? new PoolFullError('VITALS_POOL_FULL', 'too many calls wait for our own connections', where)
      : new PoolFullError(
          'VITALS_POOL_WAIT_TIMEOUT',
          'none of our own connections became free in time',
          where
        )
  }
}
