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

  constructor(options: ResolvedWorkOptions, parts: DeskParts) {
    const { threads, agingMs } = options
    const maxThreads = threadsAllowed(threads)
    this.#options = options
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
      signal: options.signal,
      deadlineMs: this.#deadlineOf('work.submit', options)
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
      signal: options.signal,
      deadlineMs: this.#deadlineOf('work.run', options)
    })) as Result
  }

  /** Waits `drainMs` for what is under way, aborts the rest, and ends all threads. */
  async close(): Promise<void> {
    const { drainMs } = this.#options
    await Promise.all([this.#jobs.close(drainMs), this.#tasks.close(drainMs)])
    await this.#threads.close()
  }

  #deadlineOf(method: string, { deadlineMs }: JobOptions): number | undefined {
    if (deadlineMs === undefined) return this.#options.deadlineMs || undefined
    if (deadlineMs > 0) return deadlineMs
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
