import type { Attempt } from './attempt.ts'
import { FailedStatus } from './failed-status.ts'

/** What a race between an attempt and its hedge needs. */
export interface Race {
  readonly first: Attempt
  /** Makes the second attempt. */
  readonly another: () => Attempt
  /** The second one begins so long after the first was sent, if that has no answer by then. */
  readonly delayMs: number
  /** Whether it may; asked when the delay is over. */
  readonly mayHedge: () => boolean
  /** The second attempt answered first. */
  readonly onWon: () => void
}

/**
 * The first good answer of an attempt and its hedge; the other one is ended. A failure doesn't win
 * while there is still hope, and one that comes before the hedge has begun is left to the retries.
 */
export function raceWithHedge({
  first,
  another,
  delayMs,
  mayHedge,
  onWon
}: Race): Promise<Attempt> {
  return new Promise((resolve, reject) => {
    const attempts: Attempt[] = []
    let pending = 0
    let isWon = false
    let timer: NodeJS.Timeout | undefined
    const start = (attempt: Attempt): void => {
      pending++
      attempts.push(attempt)
      attempt.run().then(won, lost)
    }
    const won = (winner: Attempt): void => {
      // both may answer in the same turn
      if (isWon) return
      isWon = true
      clearTimeout(timer)
      for (const other of attempts) if (other !== winner) other.cancel('superseded')
      if (winner !== first) onWon()
      resolve(winner)
    }
    const lost = (error: unknown): void => {
      if (--pending > 0) {
        if (error instanceof FailedStatus) error.attempt.discard()
        return
      }
      clearTimeout(timer)
      reject(error)
    }
    first.onDispatched = () => {
      timer = setTimeout(() => {
        if (mayHedge()) start(another())
      }, delayMs)
      timer.unref()
    }
    start(first)
  })
}
