import type { Counter, CounterFamily, Histogram, Vitals } from '@fastify-vitals/metrics'
import type { CallFailure } from './bounded-calls.ts'
import type { StoreListener } from './shared-store.ts'

/** What a request came to; `degraded` counts on top, when this instance decided by its own share. */
export const RESULTS = [
  'allowed',
  'limited',
  'skipped',
  'denied',
  'would_limit',
  'degraded'
] as const
export type Result = (typeof RESULTS)[number]

/** The counters of one route, looked up once. */
export type RouteCounters = Readonly<Record<Result, Counter>>

/** What is counted when something of the user's own goes wrong. */
export type Callback = 'key' | 'cost' | 'skip' | 'problem'

/** The metrics of all limits of an app. */
export class RateLimitMetrics implements StoreListener {
  readonly #requests: CounterFamily
  /** As many as the app declares. */
  readonly #byRoute = new Map<string, RouteCounters>()
  readonly #callbackErrors: CounterFamily
  readonly #storeErrors: CounterFamily
  readonly #storeDurations: Histogram
  readonly #onTurn: (isUp: boolean) => void

  constructor(vitals: Vitals, onTurn: (isUp: boolean) => void) {
    this.#onTurn = onTurn
    this.#requests = vitals.counter({
      name: 'rate_limit_requests_total',
      help: 'Requests by what their limit said; degraded counts on top of it, when this instance decided by its own share',
      labelNames: ['route', 'result']
    })
    this.#callbackErrors = vitals.counter({
      name: 'rate_limit_callback_errors_total',
      help: 'Times your key, cost, skip or problem function threw or returned nothing usable',
      labelNames: ['callback']
    })
    this.#storeErrors = vitals.counter({
      name: 'rate_limit_store_errors_total',
      help: 'Calls to the shared store that failed, by reason',
      labelNames: ['reason']
    })
    this.#storeDurations = vitals
      .histogram({
        name: 'rate_limit_store_duration_seconds',
        help: 'Duration of the calls that the shared store answered, in seconds',
        labelNames: [],
        buckets: vitals.durationBuckets
      })
      .with({})
  }

  /** The counters of a route pattern: what its methods share. */
  countersOf(route: string): RouteCounters {
    const known = this.#byRoute.get(route)
    if (known !== undefined) return known
    const entries = RESULTS.map((result) => [result, this.#requests.with({ route, result })])
    const counters = Object.fromEntries(entries) as RouteCounters
    this.#byRoute.set(route, counters)
    return counters
  }

  routes(): { readonly route: string; readonly counters: RouteCounters }[] {
    return [...this.#byRoute].map(([route, counters]) => ({ route, counters }))
  }

  callbackFailed(callback: Callback): void {
    this.#callbackErrors.with({ callback }).add()
  }

  answered(seconds: number): void {
    this.#storeDurations.record(seconds)
  }

  failed(reason: CallFailure): void {
    this.#storeErrors.with({ reason }).add()
  }

  turned(isUp: boolean): void {
    this.#onTurn(isUp)
  }
}
