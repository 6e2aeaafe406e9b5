import { binomialTail, wilsonLower } from '@fastify-vitals/metrics'
import type { Detector, Finding, Severity, Window } from '@fastify-vitals/metrics'
import type { ResolvedTimingOptions } from './options.ts'
import { RouteFigures } from './figures.ts'
import type { Figures } from './figures.ts'

const FEWEST_REQUESTS = 12
const FEWEST_FOR_ERRORS = 20
const FEWEST_ERRORS = 5
/** A p95 that is right at its threshold is passed by one request in twenty. */
const EXPECTED_ABOVE_P95 = 0.05
const SURPRISE = 1e-4

/** Endpoints whose average or p95 is over its threshold by more than chance. */
export function highLatency(
  options: Pick<ResolvedTimingOptions, 'maxAverageMs' | 'maxP95Ms'>
): Detector {
  return {
    name: 'high_latency',
    description: `Endpoints with an average over ${options.maxAverageMs} ms or a p95 over ${options.maxP95Ms} ms`,
    inspect: (window) =>
      RouteFigures.ofWindow(window).list.flatMap((figures) => judgeLatency(figures, options))
  }
}

function judgeLatency(
  figures: Figures,
  options: Pick<ResolvedTimingOptions, 'maxAverageMs' | 'maxP95Ms'>
): Finding[] {
  const { durations } = figures
  const { count } = durations
  if (count < FEWEST_REQUESTS) return []
  const above = durations.countAbove(options.maxP95Ms / 1000)
  const pValue = binomialTail(above, count, EXPECTED_ABOVE_P95)
  const averageMs = (durations.mean ?? 0) * 1000
  const p95Ms = (durations.quantile(0.95) ?? 0) * 1000
  const overAverage = averageMs > options.maxAverageMs
  if (pValue >= SURPRISE && !overAverage) return []
  const ratio = Math.max(averageMs / options.maxAverageMs, p95Ms / options.maxP95Ms)
  return [
    {
      type: 'high_latency',
      severity: severityOf(ratio),
      route: `${figures.method} ${figures.route}`,
      cause: overAverage
        ? `its average of ${Math.round(averageMs)} ms is over ${options.maxAverageMs} ms`
        : `its p95 of ${Math.round(p95Ms)} ms is over ${options.maxP95Ms} ms`,
      evidence: {
        request_count: count,
        average_ms: averageMs,
        p50_ms: (durations.quantile(0.5) ?? 0) * 1000,
        p95_ms: p95Ms,
        p99_ms: (durations.quantile(0.99) ?? 0) * 1000,
        requests_over_threshold: above,
        p_value: pValue
      },
      recommendations: [
        'Look at the breakdown of its worst requests: the largest part is where to begin'
      ]
    }
  ]
}

/** Endpoints where more requests fail, through us, than the threshold allows. */
export function highErrorRate(
  options: Pick<ResolvedTimingOptions, 'maxErrorRatePercent'>
): Detector {
  return {
    name: 'high_error_rate',
    description: `Endpoints where over ${options.maxErrorRatePercent} % of requests fail (5xx, time-outs)`,
    inspect: (window) =>
      RouteFigures.ofWindow(window).list.flatMap((figures) =>
        judgeErrors(figures, window, options.maxErrorRatePercent / 100)
      )
  }
}

function judgeErrors(figures: Figures, window: Window, allowed: number): Finding[] {
  const { count: total, errors } = figures
  const atLeast = wilsonLower(errors, total)
  if (total < FEWEST_FOR_ERRORS || errors < FEWEST_ERRORS || atLeast <= allowed) return []
  return [
    {
      type: 'high_error_rate',
      severity: errors / total > 0.2 ? 'critical' : severityOf(errors / total / allowed),
      route: `${figures.method} ${figures.route}`,
      cause: `${((errors / total) * 100).toFixed(1)} % of its requests fail`,
      evidence: {
        request_count: total,
        error_count: errors,
        error_rate_percent: (errors / total) * 100,
        error_rate_at_least_percent: atLeast * 100,
        outcomes: Object.fromEntries(figures.outcomes),
        seconds: window.seconds
      },
      recommendations: ['Look at the log of this route for the errors it answered with']
    }
  ]
}

/** @param ratio how many times over its threshold */
function severityOf(ratio: number): Severity {
  if (ratio >= 10) return 'critical'
  if (ratio >= 4) return 'high'
  return ratio >= 2 ? 'medium' : 'low'
}
