import type { Counter, CounterFamily, Vitals } from '@fastify-vitals/metrics'
import type { Encoding } from './codecs.ts'

/** Why a body went out as it was. */
const SKIP_REASONS = [
  'small',
  'type',
  'encoded',
  'no_transform',
  'partial',
  'client',
  'digest',
  'secret',
  'disabled',
  'callback',
  'load',
  'no_gain',
  'error'
] as const

export type SkipReason = (typeof SKIP_REASONS)[number]

/** What became of an encoded request body. */
const DECODE_RESULTS = ['ok', 'unsupported', 'too_large', 'ratio', 'corrupt', 'aborted'] as const

export type DecodeResult = (typeof DECODE_RESULTS)[number]

/** The metrics of compression of a hub. */
export class CompressionMetrics {
  readonly bytes: CounterFamily
  readonly routeBytes: CounterFamily
  readonly compressions: CounterFamily
  readonly cpuSeconds: CounterFamily
  readonly cacheHits: CounterFamily
  readonly skipped: CounterFamily
  readonly skippedBytes: CounterFamily
  readonly notModified: CounterFamily
  readonly decoded: CounterFamily
  readonly decodedBytes: CounterFamily
  readonly callbackErrors: CounterFamily

  constructor(vitals: Vitals) {
    const counter = (name: string, help: string, ...labelNames: string[]): CounterFamily =>
      vitals.counter({ name, help, labelNames })
    const route = ['method', 'route', 'encoding'] as const
    this.bytes = counter(
      'http_compression_bytes_total',
      'Bytes of response bodies into and out of compression',
      'encoding',
      'direction'
    )
    this.routeBytes = counter(
      'http_compression_route_bytes_total',
      'The same by route',
      ...route,
      'direction'
    )
    this.compressions = counter(
      'http_compressions_total',
      'Response bodies that went out compressed, those from the cache included',
      ...route
    )
    this.cpuSeconds = counter(
      'http_compression_cpu_seconds_total',
      'Processor time of compression; estimated for what ran in the thread pool',
      ...route
    )
    this.cacheHits = counter(
      'http_compression_cache_hits_total',
      'Response bodies whose compressed form was in the cache',
      ...route
    )
    this.skipped = counter(
      'http_compression_skipped_total',
      'Response bodies that went out as they were, by reason',
      'reason'
    )
    this.skippedBytes = counter(
      'http_compression_skipped_bytes_total',
      'Bytes of bodies that were large enough and went out as they were, by route and reason',
      'method',
      'route',
      'reason'
    )
    this.notModified = counter(
      'http_compression_not_modified_total',
      'Responses that became a 304 because the client has the body already',
      'method',
      'route'
    )
    this.decoded = counter(
      'http_request_decompressions_total',
      'Encoded request bodies by what became of them',
      'encoding',
      'result'
    )
    this.decodedBytes = counter(
      'http_request_decompression_bytes_total',
      'Bytes of encoded request bodies into and out of decompression',
      'encoding',
      'direction'
    )
    this.callbackErrors = counter(
      'http_compression_callback_errors_total',
      'Calls of your functions that threw, by name',
      'callback'
    )
  }
}

/** What is counted of one encoding on one route. */
export interface EncodingMeter {
  readonly encoding: Encoding
  count(bytesBefore: number, bytesAfter: number, cpuMs: number, isCached: boolean): void
}

/** What is counted of one route, whose series are looked up once. */
export class RouteMeter {
  readonly method: string
  readonly route: string
  readonly #metrics: CompressionMetrics
  readonly #encodings = new Map<Encoding, EncodingMeter>()
  readonly #skips = new Map<SkipReason, Counter>()
  readonly #skippedBytes = new Map<SkipReason, Counter>()
  readonly #small: Counter
  #notModified: Counter | undefined

  constructor(metrics: CompressionMetrics, method: string, route: string) {
    this.method = method
    this.route = route
    this.#metrics = metrics
    this.#small = metrics.skipped.with({ reason: 'small' })
  }

  of(encoding: Encoding): EncodingMeter {
    let meter = this.#encodings.get(encoding)
    if (meter === undefined) {
      meter = encodingMeter(this.#metrics, encoding, this.method, this.route)
      this.#encodings.set(encoding, meter)
    }
    return meter
  }

  countNotModified(): void {
    const { method, route } = this
    this.#notModified ??= this.#metrics.notModified.with({ method, route })
    this.#notModified.add()
  }

  skipSmall(): void {
    this.#small.add()
  }

  skip(reason: SkipReason, bytes: number = 0): void {
    let counter = this.#skips.get(reason)
    if (counter === undefined) {
      counter = this.#metrics.skipped.with({ reason })
      this.#skips.set(reason, counter)
    }
    counter.add()
    if (bytes > 0) this.#skippedBytesOf(reason).add(bytes)
  }

  #skippedBytesOf(reason: SkipReason): Counter {
    let counter = this.#skippedBytes.get(reason)
    if (counter === undefined) {
      const { method, route } = this
      counter = this.#metrics.skippedBytes.with({ method, route, reason })
      this.#skippedBytes.set(reason, counter)
    }
    return counter
  }
}

function encodingMeter(
  metrics: CompressionMetrics,
  encoding: Encoding,
  method: string,
  route: string
): EncodingMeter {
  const labels = { method, route, encoding }
  const allIn = metrics.bytes.with({ encoding, direction: 'in' })
  const allOut = metrics.bytes.with({ encoding, direction: 'out' })
  const routeIn = metrics.routeBytes.with({ ...labels, direction: 'in' })
  const routeOut = metrics.routeBytes.with({ ...labels, direction: 'out' })
  const compressions = metrics.compressions.with(labels)
  const cpuSeconds = metrics.cpuSeconds.with(labels)
  const cacheHits = metrics.cacheHits.with(labels)
  return {
    encoding,
    count(bytesBefore, bytesAfter, cpuMs, isCached) {
      allIn.add(bytesBefore)
      allOut.add(bytesAfter)
      routeIn.add(bytesBefore)
      routeOut.add(bytesAfter)
      compressions.add()
      if (isCached) cacheHits.add()
      else cpuSeconds.add(cpuMs / 1000)
    }
  }
}
