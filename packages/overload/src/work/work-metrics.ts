import { OTHER } from '@fastify-vitals/metrics'
import type {
  Counter,
  CounterFamily,
  Histogram,
  HistogramFamily,
  LatencyHistogram,
  Vitals
} from '@fastify-vitals/metrics'
import type { WorkMeter } from './job.ts'
import { WORK_RESULTS } from './work-types.ts'
import type { WorkFigures, WorkResult } from './work-types.ts'

const LONGEST_NAME = 128

/** The metrics of all work. Names beyond `maxNames` share the meter `_OTHER`. */
export class WorkMetrics {
  readonly meters: Map<string, VitalsWorkMeter> = new Map()
  readonly #maxNames: number
  readonly #jobs: CounterFamily
  readonly #queueTimes: HistogramFamily
  readonly #runTimes: HistogramFamily
  readonly #faults: Counter

  constructor(vitals: Vitals, maxNames: number) {
    this.#maxNames = maxNames
    this.#jobs = vitals.counter({
      name: 'work_jobs_total',
      help: 'Jobs and tasks by what they came to',
      labelNames: ['name', 'result']
    })
    this.#queueTimes = vitals.histogram({
      name: 'work_queue_seconds',
      help: 'How long jobs waited, in seconds, whether they ran in the end or not',
      labelNames: ['name']
    })
    this.#runTimes = vitals.histogram({
      name: 'work_run_seconds',
      help: 'How long jobs were at work, in seconds, until they had really ended',
      labelNames: ['name']
    })
    this.#faults = vitals
      .counter({
        name: 'work_thread_faults_total',
        help: 'Errors in worker threads that belonged to no task'
      })
      .with()
  }

  /** For handing on as a function. */
  readonly meterOf: (given: string) => VitalsWorkMeter = (given) => {
    const name = given.length > LONGEST_NAME ? given.slice(0, LONGEST_NAME) : given
    return (
      this.meters.get(name) ?? (this.meters.size < this.#maxNames ? this.#add(name) : this.#other())
    )
  }

  threadFailed(): void {
    this.#faults.add()
  }

  #other(): VitalsWorkMeter {
    return this.meters.get(OTHER) ?? this.#add(OTHER)
  }

  #add(name: string): VitalsWorkMeter {
    const counters = new Map(
      WORK_RESULTS.map((result) => [result, this.#jobs.with({ name, result })] as const)
    )
    const meter = new VitalsWorkMeter(
      counters,
      this.#queueTimes.with({ name }),
      this.#runTimes.with({ name })
    )
    this.meters.set(name, meter)
    return meter
  }
}

/** Counts the jobs of one name at the hub, whose series were looked up once. */
export class VitalsWorkMeter implements WorkMeter {
  readonly #counters: ReadonlyMap<WorkResult, Counter>
  readonly #queueTimes: Histogram
  readonly #runTimes: Histogram

  constructor(
    counters: ReadonlyMap<WorkResult, Counter>,
    queueTimes: Histogram,
    runTimes: Histogram
  ) {
    this.#counters = counters
    this.#queueTimes = queueTimes
    this.#runTimes = runTimes
  }

  count(result: WorkResult): void {
    this.#counters.get(result)!.add()
  }

  waited(seconds: number): void {
    this.#queueTimes.record(seconds)
  }

  ran(seconds: number): void {
    this.#runTimes.record(seconds)
  }

  get results(): Record<WorkResult, number> {
    return Object.fromEntries(
      WORK_RESULTS.map((result) => [result, this.#counters.get(result)!.value])
    ) as Record<WorkResult, number>
  }

  get queueTimes(): LatencyHistogram {
    return this.#queueTimes.latency
  }

  get runTimes(): LatencyHistogram {
    return this.#runTimes.latency
  }
}

/** Gauges that are read when somebody looks. */
export function showFigures(vitals: Vitals, figures: () => WorkFigures): void {
  const byPool = (
    name: string,
    help: string,
    read: (pool: WorkFigures['jobs']) => number
  ): void => {
    vitals.gauge({
      name,
      help,
      labelNames: ['pool'],
      collect: () => {
        const { jobs, tasks } = figures()
        return [
          [{ pool: 'jobs' }, read(jobs)],
          [{ pool: 'tasks' }, read(tasks)]
        ]
      }
    })
  }
  byPool('work_running', 'Jobs and tasks at work', ({ running }) => running)
  byPool('work_queued', 'Jobs and tasks that wait', ({ queued }) => queued)
  vitals.gauge({
    name: 'work_threads',
    help: 'Worker threads alive',
    collect: () => figures().threads
  })
}
