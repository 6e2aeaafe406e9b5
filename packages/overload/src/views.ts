import type { View } from '@fastify-vitals/metrics'
import Type from 'typebox'
import { RESULTS } from './overload-metrics.ts'
import type { Overload } from './overload.ts'
import type { Partition } from './partition.ts'
import { PRIORITIES } from './priority.ts'

const schema = Type.Object({
  limit: Type.Integer(),
  in_flight: Type.Integer(),
  queued: Type.Integer(),
  long_lived: Type.Integer(),
  saturation_ratio: Type.Number(),
  latency_ms: Type.Number({ description: 'mean of the last window; 0 while there was none' }),
  baseline_latency_ms: Type.Number({ description: 'mean without queueing; 0 while unknown' }),
  longest_wait_ms: Type.Number({ description: 'who waited for longer is turned away' }),
  is_queue_standing: Type.Boolean(),
  is_probing: Type.Boolean(),
  is_dry_run: Type.Boolean(),
  guard_pressure: Type.Number(),
  event_loop_delay_ms: Type.Number(),
  event_loop_utilisation_percent: Type.Number(),
  guards: Type.Array(
    Type.Object({
      name: Type.String(),
      value: Type.Number(),
      limit: Type.Number(),
      is_tripped: Type.Boolean()
    })
  ),
  partitions: Type.Array(
    Type.Object({
      name: Type.String({ description: 'empty: those that belong to no other' }),
      share_percent: Type.Number(),
      in_flight: Type.Integer(),
      queued: Type.Integer()
    })
  ),
  requests: Type.Array(
    Type.Object({
      priority: Type.String(),
      results: Type.Record(Type.String(), Type.Number())
    })
  )
})

/** Where overload protection stands, and what it did. */
export function overloadView(overload: Overload, partitions: ReadonlyMap<string, Partition>): View {
  return {
    name: 'overload',
    description:
      'How full the process is: limit, queue, guards, partitions, and who was turned away',
    schema,
    read: () => ({
      ...standing(overload),
      partitions: [...partitions.values()].map(({ name, share, inFlight, queue }) => ({
        name,
        share_percent: share * 100,
        in_flight: inFlight,
        queued: queue.length
      })),
      requests: PRIORITIES.map((priority, rank) => ({
        priority,
        results: Object.fromEntries(
          RESULTS.map((result) => [result, overload.parts.metrics.total(rank, result)])
        )
      }))
    })
  }
}

function standing({ parts, inFlight, waiting, longLived, saturationRatio }: Overload): object {
  const { limit, admission, guards, loop, isDryRun } = parts
  return {
    limit: limit.limit,
    in_flight: inFlight,
    queued: waiting,
    long_lived: longLived,
    saturation_ratio: saturationRatio,
    latency_ms: limit.latencyMs,
    baseline_latency_ms: limit.baselineMs,
    longest_wait_ms: admission.patience.longestWaitMs,
    is_queue_standing: admission.patience.isStanding,
    is_probing: limit.isProbing,
    is_dry_run: isDryRun,
    guard_pressure: guards.pressure,
    event_loop_delay_ms: loop.delayMs,
    event_loop_utilisation_percent: loop.utilisation * 100,
    guards: guards.states.map(({ name, value, limit: most, isTripped }) => ({
      name,
      value,
      limit: most,
      is_tripped: isTripped
    }))
  }
}
