import Type from 'typebox'
import { DURATION_BUCKETS } from './latency-histogram.ts'
import type { Naming, PromRegistry } from './exposition/metric-source.ts'
import type { HistoryOptions } from './history/history.ts'

/** Options of `@fastify-vitals/metrics`. */
export interface MetricsOptions {
  registry?: PromRegistry
  defaultLabels?: Record<string, string>
  naming?: Naming
  durationBuckets?: readonly number[]
  nativeHistogramSchema?: number
  maxSeries?: number
  idleSeriesSeconds?: number
  runtimeMetrics?: boolean
  diskPaths?: readonly string[]
  history?: Partial<HistoryOptions>
}

/** The options with every default in place. */
export interface ResolvedMetricsOptions extends Required<
  Omit<MetricsOptions, 'registry' | 'history'>
> {
  readonly registry: PromRegistry | undefined
  readonly history: HistoryOptions
}

/** The one description of the options: types, limits, defaults, and the table in the README. */
export const optionsSchema: Type.TObject = Type.Object(
  {
    registry: Type.Optional(
      Type.Unsafe<PromRegistry>({
        'x-kind': 'instance',
        description:
          'prom-client registry to fill; metrics you registered there are exposed too. Default: one of its own'
      })
    ),
    defaultLabels: Type.Optional(
      Type.Record(Type.String(), Type.String(), {
        default: {},
        description: 'labels that every sample carries, such as the name of the service'
      })
    ),
    naming: Type.Optional(
      Type.Union(
        [Type.Literal('prometheus'), Type.Literal('opentelemetry'), Type.Literal('both')],
        {
          default: 'prometheus',
          description:
            "names of metrics: Prometheus' conventions, OpenTelemetry's, or both during a migration"
        }
      )
    ),
    durationBuckets: Type.Optional(
      Type.Array(Type.Number({ exclusiveMinimum: 0 }), {
        minItems: 1,
        maxItems: 200,
        default: [...DURATION_BUCKETS],
        description: 'classic boundaries (le) of request durations, in seconds, ascending'
      })
    ),
    nativeHistogramSchema: Type.Optional(
      Type.Integer({
        minimum: -4,
        maximum: 6,
        default: 4,
        description:
          'resolution of native histograms in the protobuf exposition; 6 is what is recorded'
      })
    ),
    maxSeries: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000_000,
        default: 10_000,
        description: 'most series of one metric; more share one series labelled _OTHER'
      })
    ),
    idleSeriesSeconds: Type.Optional(
      Type.Number({
        minimum: 0,
        default: 86_400,
        description: 'a series that was not written for this long is dropped; 0 keeps all'
      })
    ),
    runtimeMetrics: Type.Optional(
      Type.Boolean({
        default: true,
        description: 'watch memory, processor, event loop, garbage collection and disk'
      })
    ),
    diskPaths: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        maxItems: 16,
        default: ['.'],
        description: 'paths whose file systems are watched'
      })
    ),
    history: Type.Optional(
      Type.Object(
        {
          slotSeconds: Type.Optional(
            Type.Number({
              minimum: 0.05,
              maximum: 60,
              default: 5,
              description: 'seconds between two snapshots'
            })
          ),
          retentionHours: Type.Optional(
            Type.Number({
              exclusiveMinimum: 0,
              maximum: 168,
              default: 24,
              description: 'hours after which figures are forgotten'
            })
          ),
          maxBytes: Type.Optional(
            Type.Integer({
              minimum: 65_536,
              default: 33_554_432,
              description: 'most bytes of history; beyond it old times get coarser, then go'
            })
          )
        },
        { additionalProperties: false }
      )
    )
  },
  { additionalProperties: false }
)
