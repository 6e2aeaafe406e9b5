import { VitalsOptionError } from '@fastify-vitals/metrics'
import { PRIORITIES, rankOf } from '../priority.ts'
import type { Priority, Rank } from '../priority.ts'
import { JobPool } from './job-pool.ts'
import type { PoolParts } from './job-pool.ts'
import { threadsAllowed } from './options.ts'
import type { DeclaredTask, ResolvedWorkOptions } from './options.ts'
import type {
  JobFunction,
  JobOptions,
  PoolFigures,
  TaskOptions,
  Work,
  WorkFigures
} from './work-types.ts'
import { WorkerThreads } from './worker-threads.ts'

export interface DeskParts extends PoolParts {
  readonly tasks: ReadonlyMap<string, DeclaredTask>
  /** Told of errors in a thread that belong to no task. */
  readonly onThreadFault: (error: unknown) => void
}

/** Takes jobs and tasks, each for a pool of its own. */
export class WorkDesk implements Work {
  readonly #options: ResolvedWorkOptions
  readonly #declared: ReadonlyMap<string, DeclaredTask>
  readonly #jobs: JobPool
  readonly #tasks: JobPool
  readonly #threads: WorkerThreads
  readonly #now: () => number
  /** Until when a close waits; monotonic milliseconds. */
  #drainedByMs: number | undefined

  constructor(options: ResolvedWorkOptions, parts: DeskParts) {
    const { threads, agingMs } = options
    const maxThreads = threadsAllowed(threads)
    this.#options = options
    this.#now = parts.now
    this.#declared = parts.tasks
    this.#jobs = new JobPool(options, parts)
    this.#tasks = new JobPool(
      { maxConcurrent: maxThreads, maxQueue: threads.maxQueue, agingMs },
      parts
    )
    this.#threads = new WorkerThreads({ ...threads, maxThreads }, parts.onThreadFault)
  }

  get figures(): WorkFigures {
    return {
      jobs: this.#jobs.figures,
      tasks: this.#tasks.figures,
      threads: this.#threads.count
    }
  }

  get saturation(): number {
    return Math.max(queueRatio(this.#jobs.figures), queueRatio(this.#tasks.figures))
  }

  async submit<Result>(
    name: string,
    priority: Priority,
    job: JobFunction<Result>,
    options: JobOptions = {}
  ): Promise<Result> {
    if (typeof name !== 'string' || name === '') {
      throw new VitalsOptionError('work.submit', 'name', 'must be a text that is not empty')
    }
    if (typeof job !== 'function') {
      throw new VitalsOptionError('work.submit', 'job', `must be a function, got ${typeof job}`)
    }
    return await this.#jobs.submit({
      name,
      rank: checkedRank('work.submit', priority),
      work: job,
      ...this.#checked('work.submit', options)
    })
  }

  async run<Result = unknown>(
    task: string,
    payload?: unknown,
    options: TaskOptions = {}
  ): Promise<Result> {
    const declared = this.#declared.get(task)
    if (declared === undefined) {
      const names = [...this.#declared.keys()].join(', ') || 'none'
      const problem = `must be one of threads.tasks (${names}), got "${task}"`
      throw new VitalsOptionError('work.run', 'task', problem)
    }
    const { transfer = [], priority = 'normal' } = options
    return (await this.#tasks.submit({
      name: task,
      rank: checkedRank('work.run', priority),
      work: async ({ signal }) =>
        await this.#threads.run({ task, ...declared, payload, transfer, signal }),
      ...this.#checked('work.run', options)
    })) as Result
  }

  /**
   * Waits until all is done, `drainMs` at most. Still takes work: requests under way may need it, and
   * what the work needs, such as connections to a database, is still there.
   */
  async drain(): Promise<void> {
    this.#drainedByMs ??= this.#now() + this.#options.drainMs
    // jobs may wait for tasks
    await this.#jobs.drain(this.#drainLeftMs)
    await this.#tasks.drain(this.#drainLeftMs)
  }

  /** Takes no more, waits for what is left of `drainMs`, aborts the rest, and ends all threads. */
  async close(): Promise<void> {
    this.#drainedByMs ??= this.#now() + this.#options.drainMs
    await this.#jobs.close(this.#drainLeftMs)
    await this.#tasks.close(this.#drainLeftMs)
    await this.#threads.close()
  }

  get #drainLeftMs(): number {
    return this.#drainedByMs === undefined ? 0 : this.#drainedByMs - this.#now()
  }

  /** @throws VitalsOptionError for options that make no sense */
  #checked(method: string, { signal, deadlineMs }: JobOptions): JobOptions {
    if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
      throw new VitalsOptionError(method, 'signal', 'must be an AbortSignal')
    }
    if (deadlineMs === undefined)
      return { signal, deadlineMs: this.#options.deadlineMs || undefined }
    if (typeof deadlineMs === 'number' && deadlineMs > 0) return { signal, deadlineMs }
    const problem = `must be more than 0 milliseconds, got ${deadlineMs}`
    throw new VitalsOptionError(method, 'deadlineMs', problem)
  }
}

function checkedRank(method: string, priority: Priority): Rank {
  const rank = rankOf(priority)
  if (rank !== undefined) return rank
  const problem = `must be one of ${PRIORITIES.join(', ')}, got "${priority}"`
  throw new VitalsOptionError(method, 'priority', problem)
}

function queueRatio({ queued, maxQueue }: PoolFigures): number {
  return maxQueue === 0 ? 0 : queued / maxQueue
}
