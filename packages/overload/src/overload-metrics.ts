import type { Counter, CounterFamily, Histogram, Vitals } from '@fastify-vitals/metrics'
import { PRIORITIES } from './priority.ts'
import type { Rank } from './priority.ts'

/** What can become of a request. */
export const RESULTS = [
  'admitted',
  'refused_full',
  'refused_late',
  'refused_guard',
  'abandoned',
  'would_refuse'
] as const

export type Result = (typeof RESULTS)[number]

/** Figures that others keep and metrics show. */
export interface Shown {
  readonly limit: number
  readonly inFlight: number
  readonly waiting: number
  readonly longLived: number
  readonly saturationRatio: number
  readonly pressure: number
}

/** Counts what becomes of requests, in series that were looked up once. */
export class OverloadMetrics {
  readonly #requests: CounterFamily
  readonly #admitted: readonly Counter[]
  readonly #waits: Histogram
  readonly #callbackErrors: CounterFamily
  /** How many were turned away so far. */
  turnedAway = 0

  constructor(vitals: Vitals) {
    this.#requests = vitals.counter({
      name: 'overload_requests_total',
      help: 'Requests by priority and what became of them; would_refuse counts those that a dry run let in',
      labelNames: ['priority', 'result']
    })
    this.#admitted = PRIORITIES.map((priority) =>
      this.#requests.with({ priority, result: 'admitted' })
    )
    this.#waits = vitals
      .histogram({
        name: 'overload_queue_wait_seconds',
        help: 'How long requests waited that did not get in at once, in seconds, whatever became of them'
      })
      .with()
    this.#callbackErrors = vitals.counter({
      name: 'overload_callback_errors_total',
      help: 'Calls of your priority and partition functions that threw or gave nothing known',
      labelNames: ['callback']
    })
  }

  admitted(rank: Rank): void {
    this.#admitted[rank]!.add()
  }

  count(rank: Rank, result: Result): void {
    if (result.startsWith('refused')) this.turnedAway++
    this.#requests.with({ priority: PRIORITIES[rank]!, result }).add()
  }

  waited(ms: number): void {
    this.#waits.record(ms / 1000)
  }

  callbackFailed(callback: string): void {
    this.#callbackErrors.with({ callback }).add()
  }

  total(rank: Rank, result: Result): number {
    return this.#requests.with({ priority: PRIORITIES[rank]!, result }).value
  }
}

/** The gauges, read when somebody looks. */
export function declareGauges(vitals: Vitals, shown: Shown): void {
  const gauge = (name: string, help: string, collect: () => number): void => {
    vitals.gauge({ name, help, collect })
  }
  gauge(
    'overload_saturation_ratio',
    'How full the process is, 0 to 1, smoothed over seconds: for autoscalers',
    () => shown.saturationRatio
  )
  gauge('overload_limit', 'How many requests are let in at once', () => shown.limit)
  gauge('overload_in_flight', 'Requests that were let in and are not done', () => shown.inFlight)
  gauge('overload_queued', 'Requests that wait to be let in', () => shown.waiting)
  gauge(
    'overload_long_lived',
    'Streams and upgraded connections that gave their place back and are not done',
    () => shown.longLived
  )
  gauge(
    'overload_guard_pressure_ratio',
    'How much the guards shed: 1 is all of priority low, 2 normal too, 3 high too',
    () => shown.pressure
  )
}
