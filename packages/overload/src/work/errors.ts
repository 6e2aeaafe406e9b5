import { VitalsError } from '@fastify-vitals/metrics'

/** What Fastify's error handling copies into the response. */
interface RetryHeaders {
  readonly 'retry-after': string
}

/** Whole seconds, at least 1. */
function inSeconds(retryAfterMs: number): number {
  return Math.max(1, Math.ceil(retryAfterMs / 1000))
}

/** A refusal that says when to come again: 503 with `Retry-After`. */
class RefusedError extends VitalsError {
  readonly statusCode: number = 503
  readonly job: string
  readonly retryAfterSeconds: number
  readonly headers: RetryHeaders

  constructor(code: string, message: string, job: string, retryAfterMs: number) {
    super(code, message)
    this.job = job
    this.retryAfterSeconds = inSeconds(retryAfterMs)
    this.headers = { 'retry-after': String(this.retryAfterSeconds) }
  }
}

/** There was no room for the job, or it had to give way to a more urgent one: it did not run. */
export class WorkQueueFullError extends RefusedError {
  constructor(job: string, maxQueue: number, retryAfterMs: number) {
    super(
      'VITALS_WORK_QUEUE_FULL',
      `no room for the job "${job}": all places are taken, and the ${maxQueue} that may wait come before it`,
      job,
      retryAfterMs
    )
    this.name = 'WorkQueueFullError'
  }
}

/** The app closes or is closed: the job did not run, or was aborted. */
export class WorkPoolClosedError extends RefusedError {
  constructor(job: string) {
    super(
      'VITALS_WORK_POOL_CLOSED',
      `the work pool is closed, so the job "${job}" was not done`,
      job,
      0
    )
    this.name = 'WorkPoolClosedError'
  }
}

/**
 * The job was not done in time: 503 with `Retry-After` when it had not begun, 504 when it had, and
 * then its signal was aborted.
 */
export class WorkDeadlineError extends VitalsError {
  readonly statusCode: 503 | 504
  readonly job: string
  readonly deadlineMs: number
  readonly retryAfterSeconds: number | undefined
  readonly headers: RetryHeaders | undefined

  /** @param retryAfterMs undefined when it had begun */
  constructor(job: string, deadlineMs: number, retryAfterMs: number | undefined) {
    const how = retryAfterMs === undefined ? 'was not done' : 'was still waiting'
    super('VITALS_WORK_DEADLINE', `the job "${job}" ${how} after ${deadlineMs} ms`)
    this.name = 'WorkDeadlineError'
    this.statusCode = retryAfterMs === undefined ? 504 : 503
    this.job = job
    this.deadlineMs = deadlineMs
    this.retryAfterSeconds = retryAfterMs === undefined ? undefined : inSeconds(retryAfterMs)
    this.headers =
      retryAfterMs === undefined ? undefined : { 'retry-after': String(inSeconds(retryAfterMs)) }
  }
}

/** A worker thread ended before its task was done; `cause` tells why, as far as it is known. */
export class WorkThreadError extends VitalsError {
  readonly statusCode: number = 500
  readonly task: string

  constructor(task: string, cause: unknown) {
    const why = cause instanceof Error ? `: ${cause.message}` : ''
    super(
      'VITALS_WORK_THREAD_ENDED',
      `the thread for the task "${task}" ended before it was done${why}`,
      {
        cause
      }
    )
    this.name = 'WorkThreadError'
    this.task = task
  }
}
