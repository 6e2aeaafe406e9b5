import { HistogramSnapshot } from '@fastify-vitals/metrics'
import type { Window } from '@fastify-vitals/metrics'
import type { HttpMetrics } from './http-metrics.ts'
import { isFailure, outcomeOf } from './outcome.ts'
import type { Outcome } from './outcome.ts'

type LabelValues = Readonly<Record<string, string>>

/** The figures of one route, or of all: since the start, or of a window. Seconds. */
export class Figures {
  readonly method: string
  readonly route: string
  durations: HistogramSnapshot = HistogramSnapshot.EMPTY
  /** Durations of the requests that we answered as we should. */
  good: HistogramSnapshot = HistogramSnapshot.EMPTY
  total = 0
  min: number = Infinity
  max = 0
  readonly outcomes: Map<Outcome, number> = new Map()

  constructor(method: string, route: string) {
    this.method = method
    this.route = route
  }

  /** Every request, also those whose duration is counted elsewhere. */
  get count(): number {
    return sum(this.outcomes.values())
  }

  get errors(): number {
    return sum([...this.outcomes].map(([outcome, count]) => (isFailure(outcome) ? count : 0)))
  }

  get mean(): number | undefined {
    return this.durations.count === 0 ? undefined : this.total / this.durations.count
  }

  /** @returns seconds within 1 %, and never outside of what was recorded */
  quantile(q: number): number | undefined {
    const seconds = this.durations.quantile(q)
    return seconds === undefined ? undefined : Math.min(this.max, Math.max(this.min, seconds))
  }

  /**
   * Share of satisfied users: 1 when all were served within the target, half for those who waited
   * up to four times as long, nothing for the rest and for failures.
   * @see https://en.wikipedia.org/wiki/Apdex
   */
  apdex(targetSeconds: number): number | undefined {
    if (this.durations.count === 0) return undefined
    const slow = this.good.countAbove(targetSeconds)
    const frustrated = this.good.countAbove(4 * targetSeconds)
    const satisfied = this.good.count - slow
    return (satisfied + (slow - frustrated) / 2) / this.durations.count
  }

  add(status: number, durations: HistogramSnapshot, exact?: ExactFigures): void {
    if (durations.count === 0) return
    const { min, max } = exact ?? durations.range!
    this.durations = HistogramSnapshot.merge([this.durations, durations])
    const outcome = outcomeOf(status)
    if (outcome === 'success' || outcome === 'client_error') {
      this.good = HistogramSnapshot.merge([this.good, durations])
    }
    this.total += exact?.total ?? durations.total
    this.min = Math.min(this.min, min)
    this.max = Math.max(this.max, max)
  }

  merge(other: Figures): void {
    this.durations = HistogramSnapshot.merge([this.durations, other.durations])
    this.good = HistogramSnapshot.merge([this.good, other.good])
    this.total += other.total
    this.min = Math.min(this.min, other.min)
    this.max = Math.max(this.max, other.max)
    for (const [outcome, count] of other.outcomes) this.addOutcome(outcome, count)
  }

  addOutcome(outcome: Outcome, count: number): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + count)
  }
}

interface ExactFigures {
  readonly total: number
  readonly min: number
  readonly max: number
}

/** Figures by route. */
export class RouteFigures {
  readonly #byMethod = new Map<string, Map<string, Figures>>()

  /** Since the start, or the last reset. */
  static ofAllTime(metrics: HttpMetrics): RouteFigures {
    const figures = new RouteFigures()
    for (const series of metrics.durations.series) {
      const [method, route, status] = series.values as [string, string, string]
      const { sum: total, min, max } = series.latency
      figures.of(method, route).add(Number(status), series.latency.snapshot(), { total, min, max })
    }
    for (const series of metrics.outcomes.series) {
      const [method, route, outcome] = series.values as [string, string, Outcome]
      figures.of(method, route).addOutcome(outcome, series.value)
    }
    return figures
  }

  /** Of a window; sums, smallest and largest are as exact as the window's buckets. */
  static ofWindow(window: Window): RouteFigures {
    const figures = new RouteFigures()
    for (const { labels, value } of window.histograms('http_request_duration_seconds')) {
      figures.labelled(labels).add(Number(labels.status_code), value)
    }
    for (const { labels, value } of window.counters('http_request_outcomes_total')) {
      figures.labelled(labels).addOutcome(labels.outcome as Outcome, value)
    }
    return figures
  }

  of(method: string, route: string): Figures {
    let byRoute = this.#byMethod.get(method)
    if (byRoute === undefined) {
      byRoute = new Map()
      this.#byMethod.set(method, byRoute)
    }
    let figures = byRoute.get(route)
    if (figures === undefined) {
      figures = new Figures(method, route)
      byRoute.set(route, figures)
    }
    return figures
  }

  labelled(labels: LabelValues): Figures {
    return this.of(labels.method!, labels.route!)
  }

  /** Every route that saw a request. */
  get list(): Figures[] {
    return [...this.#byMethod.values()]
      .flatMap((byRoute) => [...byRoute.values()])
      .filter((figures) => figures.count > 0)
  }

  /** All routes together. */
  get together(): Figures {
    const all = new Figures('*', '*')
    for (const figures of this.list) all.merge(figures)
    return all
  }
}

function sum(numbers: Iterable<number>): number {
  let total = 0
  for (const number of numbers) total += number
  return total
}
