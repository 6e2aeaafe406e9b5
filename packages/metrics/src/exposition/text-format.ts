import type { BucketCounts } from '../bucket-counts.ts'
import type { Series } from '../family.ts'
import type { AnyHistogramFamily } from '../histogram.ts'
import type { AnyFamily, Exposed, ForeignFamily, ForeignSample } from './metric-source.ts'
import { TextWriter, escapeHelp, escapeLabel, formatNumber, labelText } from './text-writer.ts'

/** Writes one metric after another as Prometheus text 0.0.4 or OpenMetrics 1.0. */
export class TextFormat {
  readonly writer: TextWriter = new TextWriter()
  readonly #openmetrics: boolean
  readonly #constant: string

  /** @param defaultLabels label text that every sample carries, such as `service="shop"` */
  constructor(openmetrics: boolean, defaultLabels: string) {
    this.#openmetrics = openmetrics
    this.#constant = defaultLabels
  }

  /** The lines before a family's samples. */
  header(family: AnyFamily, as: Exposed): void {
    this.#header(as.name, family.help, family.type)
  }

  /** The samples of one series. */
  series(family: AnyFamily, as: Exposed, series: Series): void {
    const labels = this.#labelsOf(family, as, series)
    if ('bounds' in family) {
      const { classic } = series as Series & { classic: BucketCounts }
      this.#histogram(as.name, labels, family, classic)
    } else {
      const name = family.type === 'counter' ? this.#counterSample(as.name) : as.name
      this.#sample(name, labels, (series as Series & { value: number }).value)
    }
  }

  foreignHeader(family: ForeignFamily): void {
    this.#header(family.name, family.help, family.type)
  }

  foreignSample(family: ForeignFamily, sample: ForeignSample): void {
    const name = sample.metricName ?? family.name
    const labels = { ...sample.sharedLabels, ...sample.labels }
    const text = Object.entries(labels)
      .filter(([, value]) => value !== undefined)
      .map(([label, value]) => `${label}="${escapeLabel(formatValue(value))}"`)
      .join(',')
    const isCounter = family.type === 'counter'
    this.#sample(isCounter ? this.#counterSample(name) : name, this.#join(text), sample.value)
  }

  end(): void {
    if (this.#openmetrics) this.writer.text('# EOF\n')
  }

  #header(name: string, help: string, type: string): void {
    const shown = this.#openmetrics && type === 'counter' ? name.replace(/_total$/, '') : name
    const kind = type === 'untyped' && this.#openmetrics ? 'unknown' : type
    this.writer.text(
      `# HELP ${shown} ${escapeHelp(help, this.#openmetrics)}\n# TYPE ${shown} ${kind}\n`
    )
  }

  /** OpenMetrics wants the suffix on samples; in plain text the name is as declared. */
  #counterSample(name: string): string {
    return this.#openmetrics && !name.endsWith('_total') ? `${name}_total` : name
  }

  #sample(name: string, labels: string, value: number): void {
    this.writer.text(labels === '' ? `${name} ` : `${name}{${labels}} `)
    this.writer.numberLine(value)
  }

  /** Lines that differ only in `le` and a number, then the sum and the count. */
  #histogram(
    name: string,
    labels: string,
    family: AnyHistogramFamily,
    classic: BucketCounts
  ): void {
    const { writer } = this
    const { les, sum, count } = partsOf(family, name)
    const lines = les.length + 2
    writer.reserve((name.length + labels.length * 3 + LINE_BYTES) * lines)
    const start = writer.at
    const from = start + name.length + BUCKET_HEAD.length
    writer.text(name + BUCKET_HEAD + labels)
    const to = writer.at
    const total = writer.cumulativeLines(
      start,
      to,
      labels === '' ? les.map((le) => le.subarray(1)) : les,
      classic.counts
    )
    writer.short(sum)
    writer.repeat(from, to)
    writer.short(LABELS_END)
    writer.numberLine(classic.sum)
    writer.short(count)
    writer.repeat(from, to)
    writer.short(LABELS_END)
    writer.numberLine(total)
  }

  #labelsOf(family: AnyFamily, as: Exposed, series: Series): string {
    // a family that is shown under two names has its text made anew for the second
    if (as !== family) return this.#join(labelText(as.labelNames, series.values))
    series.labelText ??= this.#join(labelText(as.labelNames, series.values))
    return series.labelText
  }

  #join(labels: string): string {
    if (this.#constant === '') return labels
    return labels === '' ? this.#constant : `${labels},${this.#constant}`
  }
}

function formatValue(value: string | number): string {
  return typeof value === 'number' ? formatNumber(value) : value
}

/** The bytes of a histogram's lines that are the same for all of its series. */
interface HistogramParts {
  /** `,le="0.005"} ` and so on. */
  readonly les: readonly Uint8Array[]
  readonly sum: Uint8Array
  readonly count: Uint8Array
}

const BUCKET_HEAD = '_bucket{'
const LABELS_END = Buffer.from('} ')
/** Room for `_bucket`, braces, `le` and a number. */
const LINE_BYTES = 80

const PARTS = new WeakMap<AnyHistogramFamily, Map<string, HistogramParts>>()

function partsOf(family: AnyHistogramFamily, name: string): HistogramParts {
  const byName = PARTS.get(family) ?? new Map<string, HistogramParts>()
  PARTS.set(family, byName)
  let parts = byName.get(name)
  if (parts === undefined) {
    const bounds = [...family.bounds.upper, Infinity]
    parts = {
      les: bounds.map((le) => Buffer.from(`,le="${formatNumber(le)}"} `)),
      sum: Buffer.from(`${name}_sum{`),
      count: Buffer.from(`${name}_count{`)
    }
    byName.set(name, parts)
  }
  return parts
}
