import { VitalsError } from '@fastify-vitals/metrics'

/** What Fastify's error handling copies into the response. */
interface RetryHeaders {
  readonly 'retry-after': string
}

/** What a breaker throws in place of an action's own errors. */
export class BreakerError extends VitalsError {
  readonly statusCode: number
  readonly breaker: string

  constructor(code: string, message: string, breaker: string, statusCode: number) {
    super(code, message)
    this.breaker = breaker
    this.statusCode = statusCode
  }
}

/** A refusal that says when to come again: 503 with `Retry-After`. */
export class RefusedError extends BreakerError {
  /** Whole seconds, at least 1. */
  readonly retryAfterSeconds: number
  readonly headers: RetryHeaders

  constructor(code: string, message: string, breaker: string, retryAfterMs: number) {
    super(code, message, breaker, 503)
    this.retryAfterSeconds = Math.max(1, Math.ceil(retryAfterMs / 1000))
    this.headers = { 'retry-after': String(this.retryAfterSeconds) }
  }
}

/** The circuit is open: the action was not called. */
export class BreakerOpenError extends RefusedError {
  /** @param retryAfterMs milliseconds until calls are let through again */
  constructor(breaker: string, retryAfterMs: number) {
    super('VITALS_BREAKER_OPEN', `the circuit breaker "${breaker}" is open`, breaker, retryAfterMs)
    this.name = 'BreakerOpenError'
  }
}

/** As many calls as allowed are under way already: the action was not called. */
export class BulkheadFullError extends RefusedError {
  constructor(breaker: string, maxConcurrent: number, retryAfterMs: number) {
    super(
      'VITALS_BULKHEAD_FULL',
      `the circuit breaker "${breaker}" has ${maxConcurrent} calls under way, which is all it lets through at once`,
      breaker,
      retryAfterMs
    )
    this.name = 'BulkheadFullError'
  }
}

/** The action took too long; its signal was aborted. */
export class BreakerTimeoutError extends BreakerError {
  readonly timeoutMs: number

  constructor(breaker: string, timeoutMs: number) {
    super(
      'VITALS_BREAKER_TIMEOUT',
      `a call through the circuit breaker "${breaker}" took longer than ${timeoutMs} ms`,
      breaker,
      504
    )
    this.name = 'BreakerTimeoutError'
    this.timeoutMs = timeoutMs
  }
}

/** The breaker was deleted or its app closed. */
export class BreakerShutDownError extends BreakerError {
  constructor(breaker: string) {
    super(
      'VITALS_BREAKER_SHUT_DOWN',
      `the circuit breaker "${breaker}" was shut down`,
      breaker,
      503
    )
    this.name = 'BreakerShutDownError'
  }
}
