import type { Detector, Finding, Window } from '@fastify-vitals/metrics'
import type { BreakerList } from './breaker-list.ts'
import type { BreakerControl, Transition } from './breaker-types.ts'

/** A breaker that opened so often in a window flaps, even if it is closed just now. */
const FLAPPING = 3

/** Breakers that let nothing through now, or opened again and again. */
export function breakerOpen(list: BreakerList): Detector {
  return {
    name: 'breaker_open',
    description: `Circuit breakers that are open, or opened ${FLAPPING} times in the window`,
    inspect: (window) =>
      list.list().flatMap((breaker) => judge(breaker, list.transitions.of(breaker.name), window))
  }
}

function judge(
  breaker: BreakerControl,
  transitions: readonly Transition[],
  window: Window
): Finding[] {
  const { name, state } = breaker
  const fromMs = Date.now() - window.seconds * 1000
  const openings = transitions.filter(({ to, at }) => to === 'open' && at >= fromMs).length
  const isOpen = state === 'open' || state === 'half_open' || state === 'forced_open'
  if (!isOpen && openings < FLAPPING) return []
  return [
    {
      type: 'breaker_open',
      severity: state === 'open' ? 'high' : 'medium',
      cause: causeOf(breaker, transitions.at(-1), openings),
      evidence: {
        breaker: name,
        state,
        since: new Date(breaker.since).toISOString(),
        openings_in_window: openings,
        rejected_in_window: window.counter('circuit_breaker_calls_total', {
          name,
          result: 'rejected'
        }),
        retry_after_ms: breaker.retryAfterMs(),
        totals: breaker.figures.totals
      },
      recommendations:
        state === 'forced_open'
          ? ['Order breaker-reset when it may judge by itself again']
          : ['Look at what is called through it: it fails, is slow, or does not answer']
    }
  ]
}

function causeOf(
  { name, state }: BreakerControl,
  last: Transition | undefined,
  openings: number
): string {
  if (state === 'forced_open') return `the circuit breaker "${name}" is held open by order`
  if (state === 'open')
    return `the circuit breaker "${name}" is open: ${last?.reason ?? 'by order'}`
  if (state === 'half_open')
    return `the circuit breaker "${name}" tries whether calls succeed again`
  return `the circuit breaker "${name}" opened ${openings} times`
}
