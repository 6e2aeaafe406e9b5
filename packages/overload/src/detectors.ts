import type { Detector, Finding, Window } from '@fastify-vitals/metrics'
import type { Overload } from './overload.ts'

const REFUSALS = ['refused_full', 'refused_late', 'refused_guard'] as const

/** Whether requests were turned away, by what, and what to do about it. */
export function overloadDetector(overload: Overload): Detector {
  return {
    name: 'overload',
    description: 'Requests that were turned away because there was too much to do',
    inspect: (window) => judge(overload, window)
  }
}

function judge({ parts, limit, inFlight, saturationRatio }: Overload, window: Window): Finding[] {
  const results = [...REFUSALS, 'admitted', 'would_refuse'] as const
  const counts = Object.fromEntries(
    results.map((result) => [result, window.counter('overload_requests_total', { result })])
  ) as Record<(typeof results)[number], number>
  const refused = REFUSALS.reduce((sum, result) => sum + counts[result], 0)
  const affected = refused + counts.would_refuse
  const { tripped } = parts.guards
  if (affected === 0 && tripped === undefined) return []
  const share = affected / Math.max(1, affected + counts.admitted)
  return [
    {
      type: 'overload',
      severity: refused === 0 ? 'medium' : share > 0.1 ? 'critical' : 'high',
      cause: causeOf(tripped?.name, counts.refused_guard, refused, parts.isDryRun),
      evidence: {
        ...counts,
        limit,
        in_flight: inFlight,
        saturation_ratio: saturationRatio,
        event_loop_utilisation_percent: parts.loop.utilisation * 100,
        baseline_latency_ms: parts.limit.baselineMs,
        latency_ms: parts.limit.latencyMs,
        tripped_guard: tripped ?? null
      },
      recommendations: [adviceFor(tripped?.name, parts.loop.utilisation)]
    }
  ]
}

function causeOf(
  guard: string | undefined,
  refusedByGuard: number,
  refused: number,
  isDryRun: boolean
): string {
  if (isDryRun) return 'there is too much to do; a dry run lets all requests in'
  if (guard !== undefined) return `the guard ${guard} is over its limit`
  if (refused > 0 && refusedByGuard === refused) return 'a guard was over its limit and sheds'
  return `${refused} requests were turned away: more came than could be done`
}

function adviceFor(guard: string | undefined, utilisation: number): string {
  if (guard === 'heap_ratio' || guard === 'rss_bytes')
    return 'Look for a leak or large answers, or give the process more memory'
  if (utilisation > 0.8)
    return 'The processor is the bottleneck: move heavy work to a worker, or run more processes'
  return 'What the handlers wait for is the bottleneck: look at databases and services behind them before adding processes'
}
