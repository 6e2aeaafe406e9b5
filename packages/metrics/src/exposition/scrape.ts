import { setImmediate as nextTurn } from 'node:timers/promises'
import { FamilyBridge } from './family-bridge.ts'
import { exposedAs } from './metric-source.ts'
import type {
  AnyFamily,
  Exposed,
  ForeignFamily,
  ForeignMetric,
  Naming,
  PromRegistry
} from './metric-source.ts'
import { ProtobufFormat } from './protobuf-format.ts'
import { TextFormat } from './text-format.ts'
import { labelText } from './text-writer.ts'
import type { ExpositionFormat } from './negotiate.ts'

export interface ScrapeOptions {
  readonly naming: Naming
  readonly defaultLabels: Readonly<Record<string, string>>
  /** Resolution of native histograms in the protobuf format, -4 to 6. */
  readonly nativeHistogramSchema: number
}

/** How long a scrape may hold the event loop before it lets others run. */
const TURN_MS = 1
const SERIES_BETWEEN_LOOKS = 8

/**
 * Everything there is to expose, in chunks. A scrape of any size gives way to requests every
 * millisecond; each series is read in one piece. A metric that fails is left out, and counted.
 */
export async function* scrape(
  families: readonly AnyFamily[],
  registry: PromRegistry,
  format: ExpositionFormat,
  options: ScrapeOptions,
  onError: (metric: string, error: unknown) => void
): AsyncGenerator<Buffer> {
  const turn = new Turn()
  const foreign = (registry.getMetricsAsArray() as ForeignMetric[]).filter(
    (metric) => !(metric instanceof FamilyBridge)
  )
  const emitter =
    format === 'protobuf' ? new ProtobufEmitter(options) : new TextEmitter(format, options)
  for (const family of families) {
    if (family.size === 0) continue
    for (const as of exposedAs(family, options.naming)) yield* emitter.family(family, as, turn)
  }
  for (const metric of foreign) {
    const found = await read(metric, onError)
    if (found !== undefined) yield* emitter.foreign(found, turn)
    await turn.giveWay()
  }
  yield* emitter.end()
}

async function read(
  metric: ForeignMetric,
  onError: (metric: string, error: unknown) => void
): Promise<ForeignFamily | undefined> {
  try {
    return await metric.get()
  } catch (error) {
    onError(metric.name, error)
    return undefined
  }
}

/** Watches how long this turn of the event loop has been ours. */
class Turn {
  #sinceMs = performance.now()
  #count = 0

  /** True when it is time to look at the clock and it says: let others run. */
  get over(): boolean {
    return (
      ++this.#count % SERIES_BETWEEN_LOOKS === 0 && performance.now() - this.#sinceMs >= TURN_MS
    )
  }

  async giveWay(): Promise<void> {
    if (performance.now() - this.#sinceMs < TURN_MS) return
    await nextTurn()
    this.#sinceMs = performance.now()
  }
}

class TextEmitter {
  readonly #text: TextFormat

  constructor(format: ExpositionFormat, options: ScrapeOptions) {
    const names = Object.keys(options.defaultLabels)
    const constant = labelText(names, Object.values(options.defaultLabels))
    this.#text = new TextFormat(format === 'openmetrics', constant)
  }

  async *family(family: AnyFamily, as: Exposed, turn: Turn): AsyncGenerator<Buffer> {
    this.#text.header(family, as)
    for (const series of family.list()) {
      this.#text.series(family, as, series)
      if (turn.over) {
        yield* this.#text.writer.takeFull()
        await turn.giveWay()
      }
    }
  }

  async *foreign(family: ForeignFamily, turn: Turn): AsyncGenerator<Buffer> {
    this.#text.foreignHeader(family)
    for (const sample of family.values) {
      this.#text.foreignSample(family, sample)
      if (turn.over) {
        yield* this.#text.writer.takeFull()
        await turn.giveWay()
      }
    }
  }

  *end(): Generator<Buffer> {
    this.#text.end()
    yield* this.#text.writer.takeAll()
  }
}

/** A family is one message with its length in front, so it is gathered before it is sent. */
class ProtobufEmitter {
  readonly #protobuf: ProtobufFormat

  constructor(options: ScrapeOptions) {
    this.#protobuf = new ProtobufFormat(options.nativeHistogramSchema, options.defaultLabels)
  }

  async *family(family: AnyFamily, as: Exposed, turn: Turn): AsyncGenerator<Buffer> {
    const parts = [this.#protobuf.header(as.name, family.help, family.type)]
    for (const series of family.list()) {
      parts.push(this.#protobuf.series(family, as, series))
      if (turn.over) await turn.giveWay()
    }
    if (parts.length > 1) yield* this.#message(parts)
  }

  async *foreign(family: ForeignFamily): AsyncGenerator<Buffer> {
    const header = this.#protobuf.header(family.name, family.help, family.type)
    yield* this.#message([header, ...this.#protobuf.foreign(family)])
  }

  *end(): Generator<Buffer> {}

  *#message(parts: readonly Buffer[]): Generator<Buffer> {
    yield this.#protobuf.delimiter(parts.reduce((sum, part) => sum + part.length, 0))
    yield* batches(parts)
  }
}

/** Joins small buffers to larger ones, so that a response is not thousands of writes. */
function* batches(parts: readonly Buffer[]): Generator<Buffer> {
  let batch: Buffer[] = []
  let bytes = 0
  for (const part of parts) {
    batch.push(part)
    bytes += part.length
    if (bytes >= 65536) {
      yield Buffer.concat(batch)
      batch = []
      bytes = 0
    }
  }
  if (bytes > 0) yield Buffer.concat(batch)
}
