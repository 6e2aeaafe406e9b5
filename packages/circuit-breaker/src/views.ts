import type { View } from '@fastify-vitals/metrics'
import Type from 'typebox'
import type { BreakerList } from './breaker-list.ts'
import type { VitalsMeter } from './breaker-metrics.ts'
import { BREAKER_STATES } from './breaker-types.ts'
import type { BreakerControl, Transition } from './breaker-types.ts'

const nullableNumber = Type.Union([Type.Number(), Type.Null()])
const state = Type.Union(BREAKER_STATES.map((name) => Type.Literal(name)))

const breakerSchema = Type.Object({
  name: Type.String(),
  state,
  since: Type.String(),
  retry_after_ms: Type.Number(),
  calls: Type.Record(Type.String(), Type.Number()),
  window_calls: Type.Number(),
  window_failures: Type.Number(),
  window_slow_calls: Type.Number(),
  failure_rate_percent: nullableNumber,
  slow_rate_percent: nullableNumber,
  consecutive_failures: Type.Number(),
  running: Type.Number(),
  queued: Type.Number(),
  average_ms: nullableNumber,
  p50_ms: nullableNumber,
  p95_ms: nullableNumber,
  p99_ms: nullableNumber,
  last_transitions: Type.Array(
    Type.Object({ at: Type.String(), from: state, to: state, reason: Type.String() })
  )
})

/** Every breaker: where it stands and why. */
export function breakersView(list: BreakerList): View {
  return {
    name: 'breakers',
    description: 'Every circuit breaker: its state, calls, rates, durations and last changes',
    schema: Type.Object({ breakers: Type.Array(breakerSchema) }),
    read: () => ({
      breakers: [...list.entries].map(({ breaker, meter }) =>
        shown(breaker, meter, list.transitions.of(breaker.name))
      )
    })
  }
}

function shown(
  breaker: BreakerControl,
  { latency }: VitalsMeter,
  transitions: readonly Transition[]
): Record<string, unknown> {
  const { figures } = breaker
  return {
    name: breaker.name,
    state: breaker.state,
    since: new Date(breaker.since).toISOString(),
    retry_after_ms: breaker.retryAfterMs(),
    calls: figures.totals,
    window_calls: figures.windowCalls,
    window_failures: figures.windowFailures,
    window_slow_calls: figures.windowSlowCalls,
    failure_rate_percent: percent(figures.failureRatio),
    slow_rate_percent: percent(figures.slowRatio),
    consecutive_failures: figures.consecutiveFailures,
    running: figures.running,
    queued: figures.queued,
    average_ms: toMs(latency.mean),
    p50_ms: toMs(latency.quantile(0.5)),
    p95_ms: toMs(latency.quantile(0.95)),
    p99_ms: toMs(latency.quantile(0.99)),
    last_transitions: transitions.map(({ at, from, to, reason }) => ({
      at: new Date(at).toISOString(),
      from,
      to,
      reason
    }))
  }
}

function percent(ratio: number | null): number | null {
  return ratio === null ? null : ratio * 100
}

function toMs(seconds: number | undefined): number | null {
  return seconds === undefined ? null : seconds * 1000
}
