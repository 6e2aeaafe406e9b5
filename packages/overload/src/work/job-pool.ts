import { PRIORITIES } from '../priority.ts'
import { Alarm } from './alarm.ts'
import { DeadlineHeap } from './deadline-heap.ts'
import { WorkDeadlineError, WorkPoolClosedError, WorkQueueFullError } from './errors.ts'
import { Job } from './job.ts'
import type { JobRequest, WorkMeter } from './job.ts'
import { PriorityQueue } from './priority-queue.ts'
import { RunTimes } from './run-times.ts'
import type { PoolFigures, WorkResult } from './work-types.ts'

export interface PoolLimits {
  readonly maxConcurrent: number
  readonly maxQueue: number
  readonly agingMs: number
}

export interface PoolParts {
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly meterOf: (name: string) => WorkMeter
}

/**
 * Runs jobs, so many at once; others wait by priority, so many at most. When the queue is full, the
 * one whose turn comes last gives way to one whose turn comes before it. A job that is late or
 * aborted is told so by its signal and its caller at once, but it holds its place until it has
 * really ended: there are never more at work than allowed.
 */
export class JobPool {
  readonly #limits: PoolLimits
  readonly #parts: PoolParts
  readonly #queue: PriorityQueue<Job>
  readonly #running = new Set<Job>()
  readonly #deadlines = new DeadlineHeap<Job>()
  readonly #alarm: Alarm
  readonly #runTimes = new RunTimes()
  #closing: Promise<void> | undefined
  #onIdle: (() => void) | undefined

  constructor(limits: PoolLimits, parts: PoolParts) {
    this.#limits = limits
    this.#parts = parts
    this.#queue = new PriorityQueue(PRIORITIES.length, limits.agingMs)
    this.#alarm = new Alarm(parts.now, () => this.tick())
  }

  get figures(): PoolFigures {
    const { maxConcurrent, maxQueue } = this.#limits
    return { running: this.#running.size, queued: this.#queue.size, maxConcurrent, maxQueue }
  }

  submit<Result>(request: JobRequest<Result>): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      const meter = this.#parts.meterOf(request.name)
      const job = new Job(request, meter, { resolve, reject }, this.#parts.now())
      const { signal } = request
      if (this.#closing !== undefined) job.fail('closed', new WorkPoolClosedError(job.name))
      else if (signal?.aborted === true) job.fail('aborted', signal.reason)
      else if (this.#admit(job)) this.#watch(job, signal)
    })
  }

  /** Ends what is past its deadline. Called by a timer, and before a job begins. */
  tick(): void {
    const nowMs = this.#parts.now()
    for (let job = this.#deadlines.next; job !== undefined; job = this.#deadlines.next) {
      if (job.dueMs > nowMs) {
        this.#alarm.setFor(job.dueMs)
        break
      }
      const retryAfterMs = job.place === 'work' ? undefined : this.#retryAfterMs()
      const late = new WorkDeadlineError(job.name, job.deadlineMs!, retryAfterMs)
      this.#giveUp(job, 'deadline', late)
    }
  }

  /** Waits until all jobs are done, but no longer than so. Still takes jobs. */
  async drain(ms: number): Promise<void> {
    if (this.#running.size === 0 || ms <= 0) return
    await new Promise<void>((resolve) => {
      // keeps the process alive, so that `app.close()` comes to its end
      const timer = setTimeout(resolve, ms)
      this.#onIdle = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /**
   * Takes no more jobs, and waits until all are done; what is not done by then is refused or aborted.
   * @param drainMs how long to wait
   */
  close(drainMs: number): Promise<void> {
    this.#closing ??= this.#close(drainMs)
    return this.#closing
  }

  /** Gives the job a place, at work or in the queue. @returns false when there is none */
  #admit(job: Job): boolean {
    const { maxConcurrent, maxQueue } = this.#limits
    // a job that begins may submit others while some still wait for their turn
    if (this.#running.size < maxConcurrent && this.#queue.size === 0) {
      this.#start(job)
      return true
    }
    if (this.#queue.size >= maxQueue && !this.#makeRoomFor(job)) {
      this.#reject(job)
      return false
    }
    job.keepContext()
    job.place = 'queue'
    this.#queue.add(job)
    return true
  }

  #makeRoomFor(job: Job): boolean {
    const { last } = this.#queue
    if (last === undefined || !this.#queue.isBefore(job, last)) return false
    this.#reject(last)
    return true
  }

  #reject(job: Job): void {
    const full = new WorkQueueFullError(job.name, this.#limits.maxQueue, this.#retryAfterMs())
    this.#giveUp(job, 'rejected', full)
  }

  /** When the queue of now will be done. */
  #retryAfterMs(): number {
    return this.#runTimes.expectedMs(this.#queue.size + 1, this.#limits.maxConcurrent)
  }

  #watch(job: Job, signal: AbortSignal | undefined): void {
    if (job.dueMs !== Infinity) {
      this.#deadlines.add(job)
      this.#alarm.setFor(job.dueMs)
    }
    if (signal !== undefined) {
      job.listen(signal, () => this.#giveUp(job, 'aborted', signal.reason))
    }
  }

  /** Answers the caller and lets go of the job, wherever it is. */
  #giveUp(job: Job, result: WorkResult, reason: unknown): void {
    this.#deadlines.remove(job)
    if (job.place === 'queue') {
      this.#queue.remove(job)
      this.#leaveQueue(job, 'none')
    }
    job.fail(result, reason)
    job.late.abort(reason)
  }

  #leaveQueue(job: Job, place: 'work' | 'none'): void {
    job.place = place
    job.meter.waited((this.#parts.now() - job.queuedMs) / 1000)
  }

  #start(job: Job): void {
    this.#leaveQueue(job, 'work')
    this.#running.add(job)
    void this.#run(job, this.#parts.now())
  }

  async #run(job: Job, startedMs: number): Promise<void> {
    try {
      job.succeed(await job.call())
    } catch (error) {
      job.fail('error', error)
    }
    const ranMs = this.#parts.now() - startedMs
    job.meter.ran(ranMs / 1000)
    this.#runTimes.add(ranMs)
    this.#deadlines.remove(job)
    this.#running.delete(job)
    this.#startNext()
  }

  #startNext(): void {
    this.tick()
    while (this.#running.size < this.#limits.maxConcurrent) {
      const job = this.#queue.take()
      if (job === undefined) break
      this.#start(job)
    }
    if (this.#running.size === 0) this.#onIdle?.()
  }

  async #close(drainMs: number): Promise<void> {
    await this.drain(drainMs)
    this.#alarm.stop()
    for (let job = this.#queue.last; job !== undefined; job = this.#queue.last) this.#shut(job)
    for (const job of this.#running) this.#shut(job)
  }

  #shut(job: Job): void {
    this.#giveUp(job, 'closed', new WorkPoolClosedError(job.name))
  }
}
