import { VitalsError } from '@fastify-vitals/metrics'

/** What Fastify's error handling copies into the response. */
interface RetryHeaders {
  readonly 'retry-after': string
}

function inSeconds(retryAfterMs: number): number {
  return Math.max(1, Math.ceil(retryAfterMs / 1000))
}

/** There was no room for the job, or it had to give way to a more urgent one: it did not run. */
export class WorkQueueFullError extends VitalsError {
  readonly statusCode: number = 503
  readonly job: string
  /** Whole seconds, at least 1. */
  readonly retryAfterSeconds: number
  readonly headers: RetryHeaders

  constructor(job: string, maxQueue: number, retryAfterMs: number) {
    super(
      'VITALS_WORK_QUEUE_FULL',
      `no room for the job "${job}": ${maxQueue} are waiting, none of them less urgent`
    )
    this.name = 'WorkQueueFullError'
    this.job = job
    this.retryAfterSeconds = inSeconds(retryAfterMs)
    this.headers = { 'retry-after': String(this.retryAfterSeconds) }
  }
}

/** The job was not done in time: 503 when it never began, 504 when it had; its signal was aborted. */
export class WorkDeadlineError extends VitalsError {
  readonly statusCode: 503 | 504
  readonly job: string
  readonly deadlineMs: number

  constructor(job: string, deadlineMs: number, hadBegun: boolean) {
    const where = hadBegun ? 'was not done' : 'was still waiting'
    super('VITALS_WORK_DEADLINE', `the job "${job}" ${where} after ${deadlineMs} ms`)
    this.name = 'WorkDeadlineError'
    this.statusCode = hadBegun ? 504 : 503
    this.job = job
    this.deadlineMs = deadlineMs
  }
}

/** The app closes or is closed: the job did not run, or was aborted. */
export class WorkPoolClosedError extends VitalsError {
  readonly statusCode: number = 503
  readonly job: string

  constructor(job: string) {
    super('VITALS_WORK_POOL_CLOSED', `the work pool is closed, so the job "${job}" was not done`)
    this.name = 'WorkPoolClosedError'
    this.job = job
  }
}

/** The worker thread ended before its task did; `cause` tells why, as far as it is known. */
export class WorkThreadError extends VitalsError {
  readonly statusCode: number = 500
  readonly task: string

  constructor(task: string, cause: unknown) {
    const why = cause instanceof Error ? `: ${cause.message}` : ''
    super('VITALS_WORK_THREAD_ENDED', `the thread that ran the task "${task}" ended${why}`, {
      cause
    })
    this.name = 'WorkThreadError'
    this.task = task
  }
}
