import { BreakerOpenError, BreakerShutDownError } from '@fastify-vitals/circuit-breaker'
import {
  CallAbortedError,
  ClientClosedError,
  DeadlineError,
  PoolFullError,
  UpstreamError,
  UpstreamTimeoutError
} from './errors.ts'
import { BlockedAddressError } from './policies/blocked-address-error.ts'

/** What an attempt came to; the label `result`. */
export type AttemptResult =
  | 'success'
  | 'client_error'
  | 'server_error'
  | 'unreachable'
  | 'reset'
  | 'nonsense'
  | 'truncated'
  | 'too_large'
  | 'connect_timeout'
  | 'headers_timeout'
  | 'body_timeout'
  | 'deadline'
  | 'aborted'
  | 'superseded'
  | 'pool_full'
  | 'pool_wait_timeout'
  | 'breaker_open'
  | 'blocked'
  | 'invalid'
  | 'closed'

/** A call that was hedged got its answer from another attempt. Never seen by whoever called. */
export class SupersededError extends Error {
  constructor() {
    super('another attempt answered first')
    this.name = 'SupersededError'
  }
}

export function resultOfStatus(status: number): AttemptResult {
  if (status >= 500) return 'server_error'
  return status >= 400 ? 'client_error' : 'success'
}

export function resultOfError(error: unknown): AttemptResult {
  if (error instanceof UpstreamError) return error.problem
  if (error instanceof UpstreamTimeoutError) return `${error.waitedFor}_timeout`
  if (error instanceof DeadlineError) return 'deadline'
  if (error instanceof SupersededError) return 'superseded'
  if (error instanceof CallAbortedError) return 'aborted'
  if (error instanceof PoolFullError) {
    return error.code === 'VITALS_POOL_FULL' ? 'pool_full' : 'pool_wait_timeout'
  }
  if (error instanceof BreakerOpenError) return 'breaker_open'
  if (error instanceof BlockedAddressError) return 'blocked'
  const isClosed = error instanceof ClientClosedError || error instanceof BreakerShutDownError
  // what else there is comes from whoever calls, such as a body function that throws
  return isClosed ? 'closed' : 'invalid'
}

/** Whose fault an end is: the upstream's, nobody's because it answered, or it tells nothing. */
export type Blame = 'upstream' | 'none' | 'unknown'

export function blameOfStatus(status: number): Blame {
  return status >= 500 ? 'upstream' : 'none'
}

/** A full pool, an abort, a deadline that was spent in our queue: these say nothing of the upstream. */
export function blameOfError(error: unknown): Blame {
  if (error instanceof UpstreamTimeoutError) return 'upstream'
  if (error instanceof UpstreamError) return error.problem === 'too_large' ? 'none' : 'upstream'
  return error instanceof DeadlineError && error.isUpstreamsFault ? 'upstream' : 'unknown'
}
