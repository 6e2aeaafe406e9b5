import type { Readable } from 'node:stream'
import type { CounterFamily, CounterOptions } from './counter.ts'
import type { Action, Detector, NamedRegistry, View } from './doors.ts'
import type { PromRegistry } from './exposition/metric-source.ts'
import type { GaugeFamily, GaugeOptions } from './gauge.ts'
import type {
  BucketHistogramFamily,
  BucketHistogramOptions,
  HistogramFamily,
  HistogramOptions
} from './histogram.ts'
import type { History } from './history/history.ts'
import type { StopMeasure } from './measure.ts'
import type { RequestContext } from './requests/request-context.ts'
import type { Labels } from './series-labels.ts'
import type { Snapshot } from './snapshot.ts'

/** What a scrape answers with. */
export interface Exposition {
  readonly contentType: string
  /** Bytes in small pieces: a scrape of any size gives way to requests. */
  readonly body: Readable
}

/**
 * The hub that all plugins of one Fastify root share, at `app.vitals`. Four doors: write, read,
 * judge, and show or act.
 */
export interface Vitals {
  /** Declares a total that only rises. @throws VitalsDeclarationError when the name is taken */
  counter(options: CounterOptions): CounterFamily
  /** Declares a value that rises and falls, written or read by a function. */
  gauge(options: GaugeOptions): GaugeFamily
  /** Declares a distribution of durations, in seconds, with quantiles and windows. */
  histogram(options: HistogramOptions): HistogramFamily
  /** Declares a distribution of sizes: classic buckets only, without quantiles and windows. */
  bucketHistogram(options: BucketHistogramOptions): BucketHistogramFamily
  /**
   * Times a piece of work: `measure_<name>_duration_seconds{outcome,...labels}`. Never throws.
   * @returns ends the measurement, and tells its duration in seconds
   */
  startMeasure(name: string, labels?: Labels): StopMeasure
  /** Times an operation; what it throws is counted as an error and thrown on. */
  trackAsyncOperation<Result>(
    name: string,
    operation: () => Promise<Result> | Result,
    labels?: Labels
  ): Promise<Result>
  /** The requests under way, and where their time goes. */
  readonly requests: RequestContext

  /** All figures since the start, or the last reset. */
  snapshot(): Snapshot
  /** What happened when; windows of any length. */
  readonly history: History
  /** The prom-client registry. Its `metrics()` shows our metrics too. */
  readonly registry: PromRegistry
  /** All metrics, ours and the registry's, in the format the `Accept` header prefers. */
  scrape(accept?: string): Exposition

  readonly detectors: NamedRegistry<Detector>
  readonly views: NamedRegistry<View>
  readonly actions: NamedRegistry<Action>

  /** Boundaries, in seconds, that durations of requests should use. */
  readonly durationBuckets: readonly number[]
  /** Calls back at the end of every slot, off the hot path, while the app lives. */
  onSlot(callback: (nowMs: number) => void): void
  /** Calls back when the `reset` action forgets all figures. */
  onReset(callback: () => void): void
}
