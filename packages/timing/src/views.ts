import { VitalsOptionError } from '@fastify-vitals/metrics'
import type { View, Vitals } from '@fastify-vitals/metrics'
import Type from 'typebox'
import type { Connections } from './connections.ts'
import type { Endpoint } from './endpoint.ts'
import { RouteFigures } from './figures.ts'
import type { Figures } from './figures.ts'
import type { HttpMetrics } from './http-metrics.ts'
import { OUTCOMES } from './outcome.ts'
import type { Recorder } from './recorder.ts'

const RATE_WINDOW_SECONDS = 60
/** Just after a start or a reset, a rate over less than this would say nothing. */
const SHORTEST_RATE_SECONDS = 1
const LONGEST_WINDOW_SECONDS = 7 * 86_400

/** Where the views read. */
export interface ViewSources {
  readonly vitals: Vitals
  readonly metrics: HttpMetrics
  readonly recorder: Recorder
  readonly connections: Connections
  readonly apdexTargetMs: number
}

type Query = Readonly<Record<string, unknown>> | undefined

const nullableNumber = Type.Union([Type.Number(), Type.Null()])
const counts = Type.Record(Type.String(), Type.Number())

const figuresProperties = {
  request_count: Type.Number(),
  requests_per_second: Type.Number(),
  total_time_ms: Type.Number(),
  average_ms: nullableNumber,
  min_ms: nullableNumber,
  max_ms: nullableNumber,
  p50_ms: nullableNumber,
  p95_ms: nullableNumber,
  p99_ms: nullableNumber,
  error_count: Type.Number(),
  error_rate_percent: nullableNumber,
  outcomes: counts,
  apdex: nullableNumber
}

const worstSchema = Type.Object({
  request_id: Type.String(),
  started_at: Type.String(),
  duration_ms: Type.Number(),
  status_code: Type.Number(),
  breakdown_ms: counts
})

const querySchema = Type.Object({
  window_seconds: Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      maximum: LONGEST_WINDOW_SECONDS,
      description: 'only the last so many seconds; without it, everything since the start'
    })
  )
})

/** All requests together. */
export function requestsView(sources: ViewSources): View {
  const { vitals, metrics, connections } = sources
  return {
    name: 'requests',
    description: 'Requests of all routes together: count, rate, durations, outcomes, what is open',
    schema: Type.Object({
      ...figuresProperties,
      requests_in_flight: Type.Number(),
      active_connections: Type.Number(),
      malformed_count: Type.Number(),
      window_seconds: nullableNumber
    }),
    querySchema,
    read(query) {
      const { figures, seconds, recent, recentSeconds } = figuresFor(sources, query)
      const rate = recent.together.count / recentSeconds
      let malformed = 0
      for (const series of metrics.malformed.series) malformed += series.value
      return {
        ...shown(figures.together, sources.apdexTargetMs, rate),
        requests_in_flight: vitals.requests.inFlight,
        active_connections: connections.active,
        malformed_count: malformed,
        window_seconds: seconds ?? null
      }
    }
  }
}

/** Every endpoint by itself, those that took most time in all first. */
export function endpointsView(sources: ViewSources): View {
  return {
    name: 'endpoints',
    description: 'The same for every endpoint, with its worst requests of the last hour',
    schema: Type.Object({
      window_seconds: nullableNumber,
      endpoints: Type.Array(
        Type.Object({
          method: Type.String(),
          route: Type.String(),
          ...figuresProperties,
          last_accessed: Type.Union([Type.String(), Type.Null()]),
          queries_per_request: nullableNumber,
          responses_by_kind: counts,
          worst_requests: Type.Array(worstSchema)
        })
      )
    }),
    querySchema,
    read(query) {
      const { figures, seconds, recent, recentSeconds } = figuresFor(sources, query)
      const endpoints = figures.list.toSorted((a, b) => b.total - a.total)
      return {
        window_seconds: seconds ?? null,
        endpoints: endpoints.map((each) => {
          const { method, route } = each
          const rate = recent.of(method, route).count / recentSeconds
          const endpoint = sources.recorder.find(method, route)
          return {
            method,
            route,
            ...shown(each, sources.apdexTargetMs, rate),
            ...shownEndpoint(endpoint, each)
          }
        })
      }
    }
  }
}

interface Chosen {
  readonly figures: RouteFigures
  /** Length of the window asked for; `undefined` for everything since the start. */
  readonly seconds: number | undefined
  /** What rates are taken from. */
  readonly recent: RouteFigures
  readonly recentSeconds: number
}

function figuresFor({ vitals, metrics }: ViewSources, query: Query): Chosen {
  const asked = windowSeconds(query)
  const window = vitals.history.window(asked ?? RATE_WINDOW_SECONDS)
  const recent = RouteFigures.ofWindow(window)
  const recentSeconds = Math.max(window.seconds, SHORTEST_RATE_SECONDS)
  return asked === undefined
    ? { figures: RouteFigures.ofAllTime(metrics), seconds: undefined, recent, recentSeconds }
    : { figures: recent, seconds: window.seconds, recent, recentSeconds }
}

/** @throws VitalsOptionError when it is not a number of seconds */
function windowSeconds(query: Query): number | undefined {
  const given = query?.window_seconds
  if (given === undefined) return undefined
  const seconds = Number(given)
  if (seconds > 0 && seconds <= LONGEST_WINDOW_SECONDS) return seconds
  throw new VitalsOptionError(
    '@fastify-vitals/timing',
    'window_seconds',
    `must be a number > 0 and <= ${LONGEST_WINDOW_SECONDS}, got ${JSON.stringify(given)}`
  )
}

function shown(
  figures: Figures,
  apdexTargetMs: number,
  requestsPerSecond: number
): Record<string, unknown> {
  const { durations, count, errors } = figures
  const isEmpty = durations.count === 0
  return {
    request_count: count,
    requests_per_second: requestsPerSecond,
    total_time_ms: figures.total * 1000,
    average_ms: toMs(figures.mean),
    min_ms: isEmpty ? null : figures.min * 1000,
    max_ms: isEmpty ? null : figures.max * 1000,
    p50_ms: toMs(figures.quantile(0.5)),
    p95_ms: toMs(figures.quantile(0.95)),
    p99_ms: toMs(figures.quantile(0.99)),
    error_count: errors,
    error_rate_percent: count === 0 ? null : (errors / count) * 100,
    outcomes: Object.fromEntries(OUTCOMES.map((name) => [name, figures.outcomes.get(name) ?? 0])),
    apdex: figures.apdex(apdexTargetMs / 1000) ?? null
  }
}

function shownEndpoint(endpoint: Endpoint | undefined, figures: Figures): Record<string, unknown> {
  if (endpoint === undefined) {
    return {
      last_accessed: null,
      queries_per_request: null,
      responses_by_kind: {},
      worst_requests: []
    }
  }
  return {
    last_accessed: new Date(performance.timeOrigin + endpoint.lastMs).toISOString(),
    queries_per_request: figures.count === 0 ? null : endpoint.queries / endpoint.completed,
    responses_by_kind: { ...endpoint.kinds },
    worst_requests: endpoint.worst.list.map((worst) => ({
      request_id: worst.requestId,
      started_at: new Date(worst.startedAt).toISOString(),
      duration_ms: worst.durationMs,
      status_code: worst.status,
      breakdown_ms: worst.breakdown
    }))
  }
}

function toMs(seconds: number | undefined): number | null {
  return seconds === undefined ? null : seconds * 1000
}
