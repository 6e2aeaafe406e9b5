import type { LatencyHistogram, View } from '@fastify-vitals/metrics'
import Type from 'typebox'
import type { VitalsWorkMeter } from './work-metrics.ts'
import type { PoolFigures, WorkFigures } from './work-types.ts'

const nullableNumber = Type.Union([Type.Number(), Type.Null()])

const poolSchema = Type.Object({
  running: Type.Number(),
  queued: Type.Number(),
  max_concurrent: Type.Number(),
  max_queue: Type.Number()
})

const nameSchema = Type.Object({
  name: Type.String(),
  results: Type.Record(Type.String(), Type.Number()),
  queue_average_ms: nullableNumber,
  queue_p95_ms: nullableNumber,
  run_average_ms: nullableNumber,
  run_p95_ms: nullableNumber
})

/** The work pools, and the jobs and tasks by name. */
export function workView(
  figures: () => WorkFigures,
  meters: ReadonlyMap<string, VitalsWorkMeter>
): View {
  return {
    name: 'work',
    description: 'Jobs beside the requests and tasks on worker threads: places, results, times',
    schema: Type.Object({
      jobs: poolSchema,
      tasks: poolSchema,
      threads: Type.Number(),
      names: Type.Array(nameSchema)
    }),
    read() {
      const { jobs, tasks, threads } = figures()
      return {
        jobs: shownPool(jobs),
        tasks: shownPool(tasks),
        threads,
        names: [...meters].map(([name, meter]) => shownName(name, meter))
      }
    }
  }
}

function shownPool(pool: PoolFigures): Record<string, number> {
  return {
    running: pool.running,
    queued: pool.queued,
    max_concurrent: pool.maxConcurrent,
    max_queue: pool.maxQueue
  }
}

function shownName(name: string, meter: VitalsWorkMeter): Record<string, unknown> {
  return {
    name,
    results: meter.results,
    ...shownTimes('queue', meter.queueTimes),
    ...shownTimes('run', meter.runTimes)
  }
}

function shownTimes(what: string, times: LatencyHistogram): Record<string, number | null> {
  return {
    [`${what}_average_ms`]: toMs(times.mean),
    [`${what}_p95_ms`]: toMs(times.quantile(0.95))
  }
}

function toMs(seconds: number | undefined): number | null {
  return seconds === undefined ? null : seconds * 1000
}
