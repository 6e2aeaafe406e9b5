import { VitalsError } from '@fastify-vitals/metrics'

/** Where a call failed. */
export interface Whereabouts {
  readonly client: string
  /** Left out when no origin was chosen yet. */
  readonly origin?: string | undefined
}

/**
 * Base of all that a call through an HTTP client fails with, but for an open circuit breaker.
 * `statusCode` is what Fastify answers when nobody catches it.
 */
export class HttpClientError extends VitalsError {
  readonly client: string
  readonly origin: string | undefined
  readonly statusCode: number

  constructor(
    code: string,
    statusCode: number,
    message: string,
    { client, origin }: Whereabouts,
    cause?: unknown
  ) {
    const where = origin === undefined ? `"${client}"` : `"${client}" (${origin})`
    super(code, `${where}: ${message}`, cause === undefined ? undefined : { cause })
    this.name = 'HttpClientError'
    this.client = client
    this.origin = origin
    this.statusCode = statusCode
  }
}

/** What went wrong with an upstream. */
export type UpstreamProblem = 'unreachable' | 'reset' | 'nonsense' | 'truncated' | 'too_large'

const UPSTREAM_CODES: Readonly<Record<UpstreamProblem, string>> = {
  unreachable: 'VITALS_UPSTREAM_UNREACHABLE',
  reset: 'VITALS_UPSTREAM_RESET',
  nonsense: 'VITALS_UPSTREAM_NONSENSE',
  truncated: 'VITALS_UPSTREAM_TRUNCATED',
  too_large: 'VITALS_UPSTREAM_TOO_LARGE'
}

/** The upstream can't be reached, broke the connection, or answered what is no HTTP: 502. */
export class UpstreamError extends HttpClientError {
  readonly problem: UpstreamProblem

  constructor(problem: UpstreamProblem, message: string, where: Whereabouts, cause?: unknown) {
    super(UPSTREAM_CODES[problem], 502, message, where, cause)
    this.name = 'UpstreamError'
    this.problem = problem
  }
}

/** What the upstream let us wait for too long. */
export type UpstreamWait = 'connect' | 'headers' | 'body'

/** The upstream was too slow to connect, to answer, or to go on with its answer: 504. */
export class UpstreamTimeoutError extends HttpClientError {
  readonly waitedFor: UpstreamWait

  constructor(waitedFor: UpstreamWait, message: string, where: Whereabouts, cause?: unknown) {
    super(`VITALS_UPSTREAM_${waitedFor.toUpperCase()}_TIMEOUT`, 504, message, where, cause)
    this.name = 'UpstreamTimeoutError'
    this.waitedFor = waitedFor
  }
}

/** The time that the call had as a whole is over: 504. */
export class DeadlineError extends HttpClientError {
  /** Whether the time was mostly spent waiting for the upstream, and not in a queue of ours. */
  readonly isUpstreamsFault: boolean

  constructor(timeoutMs: number, where: Whereabouts, isUpstreamsFault: boolean) {
    super('VITALS_DEADLINE_EXCEEDED', 504, `the call took longer than ${timeoutMs} ms`, where)
    this.name = 'DeadlineError'
    this.isUpstreamsFault = isUpstreamsFault
  }
}

/** What Fastify's error handling copies into the response. */
interface RetryHeaders {
  readonly 'retry-after': string
}

/** Our own pool is full: 503. The upstream has nothing to do with it, and is not blamed. */
export class PoolFullError extends HttpClientError {
  readonly retryAfterSeconds: number = 1
  readonly headers: RetryHeaders = { 'retry-after': '1' }

  constructor(
    code: 'VITALS_POOL_FULL' | 'VITALS_POOL_WAIT_TIMEOUT',
    message: string,
    where: Whereabouts
  ) {
    super(code, 503, message, where)
    this.name = 'PoolFullError'
  }
}

/** Whoever called gave up, by its signal or by destroying the body: 499. `cause` is its reason. */
export class CallAbortedError extends HttpClientError {
  constructor(where: Whereabouts, cause?: unknown) {
    super('VITALS_CALL_ABORTED', 499, 'the call was aborted by its caller', where, cause)
    this.name = 'CallAbortedError'
  }
}

/** A call that makes no sense, such as a path without a slash: 500, a bug of whoever calls. */
export class CallInvalidError extends HttpClientError {
  constructor(message: string, where: Whereabouts, cause?: unknown) {
    super('VITALS_CALL_INVALID', 500, message, where, cause)
    this.name = 'CallInvalidError'
  }
}

/** The app is closing: 503. */
export class ClientClosedError extends HttpClientError {
  constructor(where: Whereabouts) {
    super('VITALS_HTTP_CLIENT_CLOSED', 503, 'the client is closed', where)
    this.name = 'ClientClosedError'
  }
}
