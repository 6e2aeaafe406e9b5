import type {
  Counter,
  CounterFamily,
  Gauge,
  GaugeFamily,
  Histogram,
  HistogramFamily,
  LatencyHistogram,
  Vitals
} from '@fastify-vitals/metrics'
import { BREAKER_STATES, CALL_RESULTS } from './breaker-types.ts'
import type { BreakerState, CallResult, Transition } from './breaker-types.ts'
import type { Meter } from './meter.ts'

/** The metrics of all breakers of a hub. */
export class BreakerMetrics {
  readonly #states: GaugeFamily
  readonly #calls: CounterFamily
  readonly #transitions: CounterFamily
  readonly #durations: HistogramFamily
  readonly #callbackErrors: CounterFamily

  constructor(vitals: Vitals) {
    this.#states = vitals.gauge({
      name: 'circuit_breaker_state',
      help: 'State of a circuit breaker: 1 for the one it is in, 0 for the others',
      labelNames: ['name', 'state']
    })
    this.#calls = vitals.counter({
      name: 'circuit_breaker_calls_total',
      help: 'Calls by what they came to; fallback and stale count on top of the failures they answered',
      labelNames: ['name', 'result']
    })
    this.#transitions = vitals.counter({
      name: 'circuit_breaker_transitions_total',
      help: 'Changes of state of a circuit breaker',
      labelNames: ['name', 'from', 'to']
    })
    this.#durations = vitals.histogram({
      name: 'circuit_breaker_call_duration_seconds',
      help: 'Duration of the calls that a circuit breaker let through, in seconds, until the time-out',
      labelNames: ['name'],
      buckets: vitals.durationBuckets
    })
    this.#callbackErrors = vitals.counter({
      name: 'circuit_breaker_callback_errors_total',
      help: 'Calls of your isFailure, staleKey and listeners that threw, by callback',
      labelNames: ['callback']
    })
  }

  meter(name: string): VitalsMeter {
    return new VitalsMeter(
      new Map(CALL_RESULTS.map((result) => [result, this.#calls.with({ name, result })])),
      this.#durations.with({ name })
    )
  }

  show(name: string, current: BreakerState): void {
    for (const state of BREAKER_STATES) this.#state(name, state).set(state === current ? 1 : 0)
  }

  moved({ breaker, from, to }: Transition): void {
    this.#state(breaker, from).set(0)
    this.#state(breaker, to).set(1)
    this.#transitions.with({ name: breaker, from, to }).add()
  }

  callbackFailed(callback: string): void {
    this.#callbackErrors.with({ callback }).add()
  }

  /** Forgets a breaker that is no more. */
  drop(name: string): void {
    for (const family of [this.#states, this.#calls, this.#transitions, this.#durations]) {
      const at = family.labelNames.indexOf('name')
      for (const series of family.list())
        if (series.values[at] === name) family.drop(series as never)
    }
  }

  #state(name: string, state: BreakerState): Gauge {
    return this.#states.with({ name, state })
  }
}

/** Counts the calls of one breaker at the hub, whose series were looked up once. */
export class VitalsMeter implements Meter {
  readonly #counters: ReadonlyMap<CallResult, Counter>
  readonly #success: Counter
  readonly #durations: Histogram

  constructor(counters: ReadonlyMap<CallResult, Counter>, durations: Histogram) {
    this.#counters = counters
    this.#success = counters.get('success')!
    this.#durations = durations
  }

  count(result: CallResult): void {
    if (result === 'success') this.#success.add()
    else this.#counters.get(result)!.add()
  }

  record(seconds: number): void {
    this.#durations.record(seconds)
  }

  totals(): Record<CallResult, number> {
    return Object.fromEntries(
      CALL_RESULTS.map((result) => [result, this.#counters.get(result)!.value])
    ) as Record<CallResult, number>
  }

  get latency(): LatencyHistogram {
    return this.#durations.latency
  }
}
