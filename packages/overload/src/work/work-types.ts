import type { Priority } from '../priority.ts'

/**
 * What a job came to: `rejected` found the queue full or had to give way in it, `closed` was still
 * there when the app had closed.
 */
export const WORK_RESULTS = [
  'success',
  'error',
  'aborted',
  'deadline',
  'rejected',
  'closed'
] as const

export type WorkResult = (typeof WORK_RESULTS)[number]

/** What a job is handed. */
export interface JobContext {
  /** Aborted when nobody waits for the job any more: it should end soon. */
  readonly signal: AbortSignal
}

export type JobFunction<Result> = (context: JobContext) => Promise<Result> | Result

export interface JobOptions {
  /** Aborts the job, in the queue or at work; the promise is rejected with the signal's reason. */
  signal?: AbortSignal | undefined
  /** Milliseconds from now, the wait in the queue included. Default: the pool's `deadlineMs`. */
  deadlineMs?: number | undefined
}

export interface TaskOptions extends JobOptions {
  /** Default: `normal`. */
  priority?: Priority | undefined
  /** Parts of the payload that are moved to the thread instead of copied, such as `ArrayBuffer`s. */
  transfer?: readonly TransferItem[] | undefined
}

/** What a message to a thread can take along. */
export type TransferItem = ArrayBuffer | MessagePort

type MessagePort = import('node:worker_threads').MessagePort

/** How full one of the two pools is. */
export interface PoolFigures {
  readonly running: number
  readonly queued: number
  readonly maxConcurrent: number
  readonly maxQueue: number
}

export interface WorkFigures {
  /** The pool behind `submit`. */
  readonly jobs: PoolFigures
  /** The pool behind `run`. */
  readonly tasks: PoolFigures
  /** Worker threads alive, those that are just ending included. */
  readonly threads: number
}

/** Work beside the requests, bounded: `app.work`. */
export interface Work {
  /**
   * Runs a job on this thread as soon as there is a place for it.
   *
   * @param name names the job in metrics; from the code, never from a client
   * @param job gets `{ signal }`; holds its place until it has really ended, whatever its signal says
   * @returns what the job returns; rejects with what it throws, the reason of the given signal,
   *   WorkQueueFullError, WorkDeadlineError or WorkPoolClosedError
   */
  submit<Result>(
    name: string,
    priority: Priority,
    job: JobFunction<Result>,
    options?: JobOptions
  ): Promise<Result>
  /**
   * Runs a declared task on a worker thread. A thread whose task is aborted or late is ended.
   *
   * @param task a name of the option `threads.tasks`
   * @param payload copied to the thread when it takes the task
   * @returns what the task returns; rejects as `submit` does, and with WorkThreadError when the
   *   thread died of it
   */
  run<Result = unknown>(task: string, payload?: unknown, options?: TaskOptions): Promise<Result>
  readonly figures: WorkFigures
  /** How full the fuller of the two queues is, from 0 to 1. */
  readonly saturation: number
}
