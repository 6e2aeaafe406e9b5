import Type from 'typebox'
import { cardinalityReport } from './cardinality.ts'
import type { View } from './doors.ts'
import type { AnyFamily } from './exposition/metric-source.ts'
import type { RuntimeMonitor } from './runtime/runtime-metrics.ts'

const MS = 1000

/** Memory, processor, event loop, handles and disks of the process. */
export function runtimeView(monitor: RuntimeMonitor): View {
  const bytes = Type.Number()
  return {
    name: 'runtime',
    description: 'Memory, processor, event loop, handles and disks of this process',
    schema: Type.Object({
      uptime_seconds: Type.Number(),
      memory_bytes: Type.Record(Type.String(), bytes),
      container_memory_limit_bytes: Type.Union([bytes, Type.Null()]),
      cpu_percent: Type.Number(),
      cpu_quota_cores: Type.Number(),
      event_loop: Type.Object({
        utilisation_percent: Type.Number(),
        lag_p50_ms: Type.Number(),
        lag_p99_ms: Type.Number(),
        lag_max_ms: Type.Number()
      }),
      active_resources: Type.Record(Type.String(), Type.Number()),
      disks: Type.Array(Type.Object({ path: Type.String(), size_bytes: bytes, free_bytes: bytes }))
    }),
    read() {
      const { memory, cpuRatio, loop, disks, ...rest } = monitor.read()
      return {
        uptime_seconds: process.uptime(),
        memory_bytes: memory,
        container_memory_limit_bytes: rest.containerMemoryLimit ?? null,
        cpu_percent: cpuRatio * 100,
        cpu_quota_cores: rest.cpuQuotaCores,
        event_loop: {
          utilisation_percent: loop.utilisation * 100,
          lag_p50_ms: loop.p50 * MS,
          lag_p99_ms: loop.p99 * MS,
          lag_max_ms: loop.max * MS
        },
        active_resources: rest.resources,
        disks: disks.map(({ path, sizeBytes, freeBytes }) => ({
          path,
          size_bytes: sizeBytes,
          free_bytes: freeBytes
        }))
      }
    }
  }
}

/** How many series there are, how many were refused, and which label is to blame. */
export function cardinalityView(families: () => readonly AnyFamily[]): View {
  return {
    name: 'cardinality',
    description: 'Series held, refused and dropped, with the label that makes the most of them',
    schema: Type.Object({
      series_total: Type.Number(),
      refused_total: Type.Number(),
      dropped_total: Type.Number(),
      worst: Type.Union([
        Type.Object({
          metric: Type.String(),
          label: Type.String(),
          distinct_values: Type.Number(),
          example: Type.String()
        }),
        Type.Null()
      ])
    }),
    read() {
      const { worst, ...totals } = cardinalityReport(families())
      return {
        series_total: totals.seriesTotal,
        refused_total: totals.refusedTotal,
        dropped_total: totals.droppedTotal,
        worst:
          worst === undefined
            ? null
            : {
                metric: worst.metric,
                label: worst.label,
                distinct_values: worst.distinctValues,
                example: worst.example
              }
      }
    }
  }
}
