import type { Attempt } from './attempt.ts'

/** An answer that counts as a failure of the upstream. Whoever called gets the answer, not this. */
export class FailedStatus extends Error {
  readonly attempt: Attempt

  constructor(attempt: Attempt) {
    super(`the upstream answered ${attempt.response.status}`)
    this.name = 'FailedStatus'
    this.attempt = attempt
  }
}
