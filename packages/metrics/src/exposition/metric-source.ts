import type { AnyHistogramFamily } from '../histogram.ts'
import type { CounterFamily } from '../counter.ts'
import type { GaugeFamily } from '../gauge.ts'

export type AnyFamily = CounterFamily | GaugeFamily | AnyHistogramFamily

/** Under which names the metrics are shown. */
export type Naming = 'prometheus' | 'opentelemetry' | 'both'

/** One name under which a family is shown. */
export interface Exposed {
  readonly name: string
  readonly labelNames: readonly string[]
}

/** The names of a family: its own, OpenTelemetry's, or both. A family without the latter keeps its own. */
export function exposedAs(family: AnyFamily, naming: Naming): Exposed[] {
  const own: Exposed = family
  const other = family.opentelemetry
  if (other === undefined || naming === 'prometheus') return [own]
  const renamed = {
    name: other.name,
    labelNames: family.labelNames.map((label) => other.labels?.[label] ?? label)
  }
  return naming === 'both' ? [own, renamed] : [renamed]
}

/** A sample of a prom-client metric, as its `get()` returns it. */
export interface ForeignSample {
  readonly value: number
  readonly labels?: Readonly<Record<string, string | number>>
  readonly sharedLabels?: Readonly<Record<string, string | number>>
  readonly metricName?: string
}

export interface ForeignFamily {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly values: readonly ForeignSample[]
}

/** The part of a prom-client metric that we rely on. */
export interface ForeignMetric {
  readonly name: string
  get(): Promise<ForeignFamily>
}

/** The part of a prom-client registry that we rely on: public, and the same in its successors. */
export interface PromRegistry {
  readonly contentType: string
  metrics(): Promise<string>
  // prom-client types its members invariantly; what we put in and take out is a ForeignMetric
  registerMetric(metric: never): void
  removeSingleMetric(name: string): void
  getSingleMetric(name: string): unknown
  getMetricsAsArray(): unknown[]
}
