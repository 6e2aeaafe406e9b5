import type {
  BucketHistogram,
  Counter,
  Histogram,
  Labels,
  RequestRecord,
  Route
} from '@fastify-vitals/metrics'
import type { HttpMetrics } from './http-metrics.ts'
import { outcomeOf } from './outcome.ts'
import type { Outcome, ResponseKind } from './outcome.ts'
import { WorstRequests } from './worst-requests.ts'

/** Methods whose requests have no body worth counting. */
const BODILESS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/**
 * All that is counted of one route and method. Its series are looked up once, so that a request
 * costs array and typed-array writes only.
 */
export class Endpoint {
  readonly route: Route
  readonly worst: WorstRequests
  readonly hasRequestBody: boolean
  /** Database queries of all its requests. */
  queries = 0
  /** Monotonic milliseconds of its last completion. */
  lastMs = 0
  readonly kinds: Record<ResponseKind, number> = {
    plain: 0,
    stream: 0,
    event_stream: 0,
    upgrade: 0
  }
  readonly #metrics: HttpMetrics
  readonly #labels: { readonly method: string; readonly route: string }
  readonly #byStatus = new Map<number, Histogram>()
  readonly #outcomes = new Map<Outcome, Counter>()
  #requestSizes: BucketHistogram | undefined
  #responseSizes: BucketHistogram | undefined
  #lastStatus = 0
  #lastHistogram: Histogram | undefined
  #lastOutcome: Counter | undefined

  constructor(route: Route, metrics: HttpMetrics, worstRequests: number) {
    this.route = route
    this.#metrics = metrics
    this.#labels = { method: route.method, route: route.url }
    this.worst = new WorstRequests(worstRequests)
    this.hasRequestBody = !BODILESS.has(route.method)
  }

  /** Counts an ordinary request. Most of an endpoint's requests end alike, so the last way is kept. */
  count(status: number, record: RequestRecord, seconds: number): void {
    if (status !== this.#lastStatus || record.error !== undefined) this.#select(status, record)
    this.#lastHistogram!.record(seconds)
    this.#lastOutcome!.add()
  }

  /** The same with labels on top, which are looked up for every request. */
  countLabelled(status: number, record: RequestRecord, seconds: number, labels: Labels): void {
    this.#metrics.durations
      .with({ ...this.#labels, status_code: status, ...labels })
      .record(seconds)
    this.countOutcome(status, record)
  }

  /** Counts how a request ended whose duration goes elsewhere. */
  countOutcome(status: number, record: RequestRecord): void {
    this.#outcome(outcomeOf(status, record)).add()
  }

  countRequestSize(bytes: number): void {
    this.#requestSizes ??= this.#metrics.requestSizes.with(this.#labels)
    this.#requestSizes.record(bytes)
  }

  countResponseSize(bytes: number): void {
    this.#responseSizes ??= this.#metrics.responseSizes.with(this.#labels)
    this.#responseSizes.record(bytes)
  }

  countLongLived(kind: ResponseKind, seconds: number): void {
    this.#metrics.longLived.with({ ...this.#labels, kind }).record(seconds)
  }

  countFirstByte(seconds: number): void {
    this.#metrics.firstBytes.with(this.#labels).record(seconds)
  }

  /** Requests counted so far. */
  get completed(): number {
    const { plain, stream, event_stream, upgrade } = this.kinds
    return plain + stream + event_stream + upgrade
  }

  reset(): void {
    this.queries = 0
    this.worst.clear()
    for (const kind of ['plain', 'stream', 'event_stream', 'upgrade'] as const) this.kinds[kind] = 0
  }

  #select(status: number, record: RequestRecord): void {
    let histogram = this.#byStatus.get(status)
    if (histogram === undefined) {
      histogram = this.#metrics.durations.with({ ...this.#labels, status_code: status })
      this.#byStatus.set(status, histogram)
    }
    this.#lastStatus = record.error === undefined ? status : 0
    this.#lastHistogram = histogram
    this.#lastOutcome = this.#outcome(outcomeOf(status, record))
  }

  #outcome(outcome: Outcome): Counter {
    let counter = this.#outcomes.get(outcome)
    if (counter === undefined) {
      counter = this.#metrics.outcomes.with({ ...this.#labels, outcome })
      this.#outcomes.set(outcome, counter)
    }
    return counter
  }
}
