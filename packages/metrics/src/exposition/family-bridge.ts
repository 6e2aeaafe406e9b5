import type { BucketCounts } from '../bucket-counts.ts'
import type { Series } from '../family.ts'
import type {
  AnyFamily,
  Exposed,
  ForeignFamily,
  ForeignMetric,
  ForeignSample
} from './metric-source.ts'
import { formatNumber } from './text-writer.ts'

/**
 * Shows one of our families as a metric of a prom-client registry, filled when somebody reads it.
 * Every read returns fresh objects, so nothing the registry does to them comes back to us.
 */
export class FamilyBridge implements ForeignMetric {
  readonly help: string
  readonly type: string
  readonly aggregator = 'sum'
  readonly #family: AnyFamily
  readonly #as: Exposed
  readonly #refresh: (family: AnyFamily) => void

  constructor(family: AnyFamily, as: Exposed, refresh: (family: AnyFamily) => void) {
    this.help = family.help
    this.type = family.type
    this.#family = family
    this.#as = as
    this.#refresh = refresh
  }

  get name(): string {
    return this.#as.name
  }

  /** prom-client renames counters in place when it prints OpenMetrics; ours keep their names. */
  set name(_renamed: string) {}

  async get(): Promise<ForeignFamily & { aggregator: string }> {
    this.#refresh(this.#family)
    const values = [...this.#family.series].flatMap((series) => this.#samples(series))
    const { name, help, type, aggregator } = this
    return { name, help, type, values, aggregator }
  }

  /** Part of prom-client's interface: forgets all figures. */
  reset(): void {
    this.#family.reset()
  }

  #samples(series: Series): ForeignSample[] {
    const labels = Object.fromEntries(
      this.#as.labelNames.map((label, i) => [label, series.values[i]!])
    )
    if (!('bounds' in this.#family)) {
      return [{ labels, value: (series as Series & { value: number }).value }]
    }
    return this.#histogram(labels, (series as Series & { classic: BucketCounts }).classic)
  }

  #histogram(sharedLabels: Record<string, string>, classic: BucketCounts): ForeignSample[] {
    let cumulative = 0
    const buckets = classic.counts.map((count, i) => {
      cumulative += count
      const le = formatNumber(classic.bounds.upper[i] ?? Infinity)
      const labels = { le }
      return { metricName: `${this.name}_bucket`, labels, sharedLabels, value: cumulative }
    })
    return [
      ...buckets,
      { metricName: `${this.name}_sum`, labels: {}, sharedLabels, value: classic.sum },
      { metricName: `${this.name}_count`, labels: {}, sharedLabels, value: cumulative }
    ]
  }
}
