import type { AnyFamily } from './exposition/metric-source.ts'
import type { Series } from './family.ts'
import type { BucketCounts } from './bucket-counts.ts'
import type { LatencyHistogram } from './latency-histogram.ts'

/** One series: a number, or a distribution in the unit of its metric. */
export interface SeriesSnapshot {
  readonly labels: Readonly<Record<string, string>>
  /** Of a counter or gauge; the count of a histogram. */
  readonly value: number
  readonly histogram?: DistributionSnapshot
}

export interface DistributionSnapshot {
  readonly count: number
  readonly sum: number
  /** The rest is left out where nothing was recorded, or where only buckets are kept. */
  readonly min?: number
  readonly max?: number
  readonly mean?: number
  readonly p50?: number
  readonly p90?: number
  readonly p95?: number
  readonly p99?: number
  readonly p999?: number
}

/** All figures since the start, by metric name. */
export type Snapshot = Readonly<Record<string, readonly SeriesSnapshot[]>>

export function takeSnapshot(families: Iterable<AnyFamily>): Snapshot {
  const snapshot: Record<string, SeriesSnapshot[]> = {}
  for (const family of families) {
    snapshot[family.name] = [...family.series].map((series) => seriesSnapshot(family, series))
  }
  return snapshot
}

function seriesSnapshot(family: AnyFamily, series: Series): SeriesSnapshot {
  const labels = Object.fromEntries(family.labelNames.map((name, i) => [name, series.values[i]!]))
  if (!('bounds' in family)) {
    return { labels, value: (series as Series & { value: number }).value }
  }
  const { classic, latency } = series as Series & {
    classic: BucketCounts
    latency?: LatencyHistogram
  }
  const { count, sum } = classic
  const histogram = { count, sum, ...(latency === undefined ? {} : quantilesOf(latency)) }
  return { labels, value: count, histogram }
}

function quantilesOf(latency: LatencyHistogram): Partial<DistributionSnapshot> {
  const { mean, min, max } = latency
  if (mean === undefined) return {}
  const at = (q: number): number => latency.quantile(q)!
  return {
    min,
    max,
    mean,
    p50: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
    p999: at(0.999)
  }
}
