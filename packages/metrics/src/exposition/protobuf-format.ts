import type { BucketCounts } from '../bucket-counts.ts'
import type { Series } from '../family.ts'
import type { LatencyHistogram } from '../latency-histogram.ts'
import { foreignGroups } from './foreign-groups.ts'
import type { ForeignGroup } from './foreign-groups.ts'
import type { AnyFamily, Exposed, ForeignFamily } from './metric-source.ts'
import { nativeBuckets, spansOf } from './native-buckets.ts'
import { ProtobufWriter } from './protobuf-writer.ts'

const TYPES: Readonly<Record<string, number>> = {
  counter: 0,
  gauge: 1,
  summary: 2,
  untyped: 3,
  histogram: 4
}
const UNTYPED = 3

type LabelPairs = readonly (readonly [name: string, value: string])[]

/**
 * Encodes metrics as `io.prometheus.client.MetricFamily` messages, with native histograms.
 * @see https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
 */
export class ProtobufFormat {
  readonly #schema: number
  readonly #constant: LabelPairs

  /** @param schema resolution of native histograms, -4 to 6 */
  constructor(schema: number, defaultLabels: Readonly<Record<string, string>>) {
    this.#schema = schema
    this.#constant = Object.entries(defaultLabels)
  }

  /** Fields of the family before its metrics. */
  header(name: string, help: string, type: string): Buffer {
    const writer = new ProtobufWriter()
    writer.string(1, name)
    writer.string(2, help)
    writer.unsigned(3, TYPES[type] ?? UNTYPED)
    return writer.take()
  }

  /** One series, as a field of its family. */
  series(family: AnyFamily, as: Exposed, series: Series): Buffer {
    const metric = this.#labelled(as.labelNames.map((name, i) => [name, series.values[i]!]))
    if ('bounds' in family) {
      const { classic, latency } = series as Series & {
        classic: BucketCounts
        latency?: LatencyHistogram
      }
      metric.message(7, this.#histogram(classic, latency))
    } else {
      const { value } = series as Series & { value: number }
      metric.message(family.type === 'counter' ? 3 : 2, valueMessage(value))
    }
    return asField(metric)
  }

  /** All metrics of a prom-client family, as fields. */
  foreign(family: ForeignFamily): Buffer[] {
    return foreignGroups(family).map((group) => {
      const metric = this.#labelled(group.labels)
      metric.message(...foreignValue(family.type, group))
      return asField(metric)
    })
  }

  /** The length in front of a message of a delimited stream. */
  delimiter(length: number): Buffer {
    const writer = new ProtobufWriter()
    writer.varint(length)
    return writer.take()
  }

  #labelled(labels: LabelPairs): ProtobufWriter {
    const metric = new ProtobufWriter()
    for (const [name, value] of [...labels, ...this.#constant]) {
      const pair = new ProtobufWriter()
      pair.string(1, name)
      pair.string(2, value)
      metric.message(1, pair.take())
    }
    return metric
  }

  #histogram(classic: BucketCounts, latency: LatencyHistogram | undefined): Buffer {
    const writer = new ProtobufWriter()
    writer.unsigned(1, classic.count)
    writer.double(2, classic.sum)
    let cumulative = 0
    for (const [i, count] of classic.counts.entries()) {
      cumulative += count
      writer.message(3, bucketMessage(cumulative, classic.bounds.upper[i] ?? Infinity))
    }
    if (latency !== undefined) writeNative(writer, latency, this.#schema)
    return writer.take()
  }
}

function writeNative(writer: ProtobufWriter, latency: LatencyHistogram, schema: number): void {
  const { zeroCount, zeroThreshold, indices, counts } = nativeBuckets(latency, schema)
  writer.signed(5, schema)
  writer.double(6, zeroThreshold)
  writer.unsigned(7, zeroCount)
  for (const { offset, length } of spansOf(indices)) {
    const span = new ProtobufWriter()
    span.signed(1, offset)
    span.unsigned(2, length)
    writer.message(12, span.take())
  }
  let before = 0
  for (const count of counts) {
    writer.signed(13, count - before)
    before = count
  }
}

function foreignValue(type: string, group: ForeignGroup): [field: number, message: Buffer] {
  if (type === 'counter') return [3, valueMessage(group.value)]
  if (type === 'gauge') return [2, valueMessage(group.value)]
  if (type !== 'histogram' && type !== 'summary') return [5, valueMessage(group.value)]
  const writer = new ProtobufWriter()
  writer.unsigned(1, group.count)
  writer.double(2, group.sum)
  for (const [bound, value] of group.parts) {
    writer.message(
      3,
      type === 'histogram' ? bucketMessage(value, bound) : quantileMessage(bound, value)
    )
  }
  return type === 'histogram' ? [7, writer.take()] : [4, writer.take()]
}

function asField(metric: ProtobufWriter): Buffer {
  const writer = new ProtobufWriter()
  writer.message(4, metric.take())
  return writer.take()
}

function valueMessage(value: number): Buffer {
  const writer = new ProtobufWriter()
  writer.double(1, value)
  return writer.take()
}

function bucketMessage(cumulative: number, upperBound: number): Buffer {
  const writer = new ProtobufWriter()
  writer.unsigned(1, cumulative)
  writer.double(2, upperBound)
  return writer.take()
}

function quantileMessage(quantile: number, value: number): Buffer {
  const writer = new ProtobufWriter()
  writer.double(1, quantile)
  writer.double(2, value)
  return writer.take()
}
