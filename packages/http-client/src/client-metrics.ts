import type {
  Counter,
  CounterFamily,
  Histogram,
  HistogramFamily,
  Vitals
} from '@fastify-vitals/metrics'
import type { AttemptResult } from './blame.ts'

export type Phase = 'queue' | 'connect' | 'first_byte' | 'body'

const PHASES: readonly Phase[] = ['queue', 'connect', 'first_byte', 'body']

/** What makes another attempt. */
export type RetryReason = 'status' | 'connection'

/** Counts the attempts at one origin. A series is made when it is first needed, and then kept. */
export class OriginMeter {
  readonly phases: Readonly<Record<Phase, Histogram>>
  readonly #results: Partial<Record<AttemptResult, Counter>> = {}
  readonly #make: (result: AttemptResult) => Counter

  constructor(make: (result: AttemptResult) => Counter, phases: Record<Phase, Histogram>) {
    this.#make = make
    this.phases = phases
  }

  count(result: AttemptResult): void {
    const counter = (this.#results[result] ??= this.#make(result))
    counter.add()
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
    const phases = PHASES.map(
      (phase) => [phase, this.#durations.with({ client, origin, phase })] as const
    )
    return new OriginMeter(
      (result) => this.#requests.with({ client, origin, result }),
      Object.fromEntries(phases) as Record<Phase, Histogram>
    )
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
