import { BucketBounds, BucketCounts } from './bucket-counts.ts'
import { Family } from './family.ts'
import type { FamilyLimits, FamilyOptions, Series } from './family.ts'
import { DURATION_BUCKETS, LatencyHistogram } from './latency-histogram.ts'
import { bucketOf } from './log-scale.ts'
import { PageSlab } from './page-slab.ts'

/** Takes each recorded bucket of a series, for the windows. */
export interface RecordSink {
  push(seriesId: number, bucket: number): void
}

export interface HistogramOptions extends FamilyOptions {
  /** Classic boundaries (`le`), ascending, in seconds. Default: {@link DURATION_BUCKETS}. */
  readonly buckets?: readonly number[]
}

/** One series of durations. */
export class Histogram implements Series {
  id = 0
  labelText: string | undefined = undefined
  dropped = false
  readonly values: readonly string[]
  readonly latency: LatencyHistogram
  readonly #family: HistogramFamily

  constructor(values: readonly string[], family: HistogramFamily, latency: LatencyHistogram) {
    this.values = values
    this.#family = family
    this.latency = latency
  }

  /** @param seconds a duration; negative ones and NaN are refused and counted */
  record(seconds: number): void {
    if (this.dropped) {
      const live = this.#family.revive(this)
      if (live !== this) return live.record(seconds)
    }
    const bucket = this.latency.record(seconds)
    if (this.id !== 0 && bucket >= 0) this.#family.sink.push(this.id, bucket)
  }

  get classic(): BucketCounts {
    return this.latency.classic
  }

  get activity(): number {
    return this.latency.count
  }

  reset(): void {
    this.latency.reset()
  }
}

/** Durations with quantiles, windows, classic and native buckets. */
export class HistogramFamily extends Family<Histogram> {
  readonly type = 'histogram'
  readonly bounds: BucketBounds
  readonly sink: RecordSink
  readonly #slab: PageSlab

  constructor(options: HistogramOptions, limits: FamilyLimits, sink: RecordSink, slab: PageSlab) {
    super(options, limits)
    this.bounds = new BucketBounds(options.buckets ?? DURATION_BUCKETS)
    this.sink = sink
    this.#slab = slab
  }

  protected create(values: readonly string[]): Histogram {
    const latency = new LatencyHistogram({ bounds: this.bounds, slab: this.#slab })
    return new Histogram(values, this, latency)
  }
}

export interface BucketHistogramOptions extends FamilyOptions {
  /** Classic boundaries (`le`), ascending, in the unit of the metric's name. */
  readonly buckets: readonly number[]
}

/** One series of sizes: classic buckets only, 0.2 KB. */
export class BucketHistogram implements Series {
  id = 0
  labelText: string | undefined = undefined
  dropped = false
  readonly values: readonly string[]
  readonly classic: BucketCounts
  readonly #family: BucketHistogramFamily

  constructor(values: readonly string[], family: BucketHistogramFamily) {
    this.values = values
    this.#family = family
    this.classic = new BucketCounts(family.bounds)
  }

  /** @param value at least 0; anything else is ignored */
  record(value: number): void {
    if (this.dropped) {
      const live = this.#family.revive(this)
      if (live !== this) return live.record(value)
    }
    if (value >= 0) this.classic.record(value, bucketOf(value))
  }

  get activity(): number {
    return this.classic.count
  }

  reset(): void {
    this.classic.reset()
  }
}

/** Sizes and other amounts where classic buckets are enough: no quantiles, no windows. */
export class BucketHistogramFamily extends Family<BucketHistogram> {
  readonly type = 'histogram'
  readonly bounds: BucketBounds

  constructor(options: BucketHistogramOptions, limits: FamilyLimits) {
    super({ ...options, history: false }, limits)
    this.bounds = new BucketBounds(options.buckets)
  }

  protected create(values: readonly string[]): BucketHistogram {
    return new BucketHistogram(values, this)
  }
}

export type AnyHistogramFamily = HistogramFamily | BucketHistogramFamily
