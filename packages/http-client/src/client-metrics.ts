import type {
  Counter,
  CounterFamily,
  Histogram,
  HistogramFamily,
  Vitals
} from '@fastify-vitals/metrics'
import type { AttemptResult } from './blame.ts'

export type Phase = 'queue' | 'connect' | 'first_byte' | 'body'

/** What makes another attempt. */
export type RetryReason = 'status' | 'connection'

/** Makes the series of one origin. */
interface SeriesOfOrigin {
  readonly counter: (result: AttemptResult) => Counter
  readonly histogram: (phase: Phase) => Histogram
}

/** Measures the attempts at one origin. A series is made when it is first needed, and then kept. */
export class OriginMeter {
  readonly #phases: Partial<Record<Phase, Histogram>> = {}
  readonly #results: Partial<Record<AttemptResult, Counter>> = {}
  readonly #series: SeriesOfOrigin

  constructor(series: SeriesOfOrigin) {
    this.#series = series
  }

  count(result: AttemptResult): void {
    const counter = (this.#results[result] ??= this.#series.counter(result))
    counter.add()
  }

  record(phase: Phase, ms: number): void {
    const histogram = (this.#phases[phase] ??= this.#series.histogram(phase))
    histogram.record(ms / 1000)
  }

  /** 95 % take so many milliseconds at most; `undefined` before there were any. */
  p95Ms(phase: Phase): number | undefined {
    const seconds = this.#phases[phase]?.latency.quantile(0.95)
    return seconds === undefined ? undefined : seconds * 1000
  }
}

/** Counts the calls of one client. */
export interface ClientMeter {
  readonly calls: Counter
  readonly retries: Readonly<Record<RetryReason, Counter>>
  readonly hedges: Counter
  readonly hedgesWon: Counter
  readonly refusals: Readonly<Record<'retry' | 'hedge', Counter>>
  readonly ejections: Counter
}

/** The metrics of all clients of a hub. */
export class ClientMetrics {
  readonly #calls: CounterFamily
  readonly #requests: CounterFamily
  readonly #durations: HistogramFamily
  readonly #retries: CounterFamily
  readonly #hedges: CounterFamily
  readonly #refusals: CounterFamily
  readonly #ejections: CounterFamily

  constructor(vitals: Vitals) {
    this.#calls = vitals.counter({
      name: 'http_client_calls_total',
      help: 'Calls made through a client, whatever number of requests each took',
      labelNames: ['client']
    })
    this.#requests = vitals.counter({
      name: 'http_client_requests_total',
      help: 'Requests to an upstream by what they came to, retries and hedges included',
      labelNames: ['client', 'origin', 'result']
    })
    this.#durations = vitals.histogram({
      name: 'http_client_request_duration_seconds',
      help: 'Where the time of requests to an upstream went: queue (for our own pool), connect, first_byte, body',
      labelNames: ['client', 'origin', 'phase'],
      buckets: vitals.durationBuckets
    })
    this.#retries = vitals.counter({
      name: 'http_client_retries_total',
      help: 'Retries by what they followed: a status, or a failed connection',
      labelNames: ['client', 'reason']
    })
    this.#hedges = vitals.counter({
      name: 'http_client_hedges_total',
      help: 'Second requests made because the first was late, and those of them that answered first',
      labelNames: ['client', 'outcome']
    })
    this.#refusals = vitals.counter({
      name: 'http_client_budget_refusals_total',
      help: 'Retries and hedges that the retry budget did not allow',
      labelNames: ['client', 'kind']
    })
    this.#ejections = vitals.counter({
      name: 'http_client_ejections_total',
      help: 'How often origins were taken out because they failed',
      labelNames: ['client']
    })
  }

  origin(client: string, origin: string): OriginMeter {
    return new OriginMeter({
      counter: (result) => this.#requests.with({ client, origin, result }),
      histogram: (phase) => this.#durations.with({ client, origin, phase })
    })
  }

  client(client: string): ClientMeter {
    return {
      calls: this.#calls.with({ client }),
      retries: {
        status: this.#retries.with({ client, reason: 'status' }),
        connection: this.#retries.with({ client, reason: 'connection' })
      },
      hedges: this.#hedges.with({ client, outcome: 'sent' }),
      hedgesWon: this.#hedges.with({ client, outcome: 'won' }),
      refusals: {
        retry: this.#refusals.with({ client, kind: 'retry' }),
        hedge: this.#refusals.with({ client, kind: 'hedge' })
      },
      ejections: this.#ejections.with({ client })
    }
  }
}
