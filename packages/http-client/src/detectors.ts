import { binomialTail } from '@fastify-vitals/metrics'
import type { Detector, Finding, Severity, Window } from '@fastify-vitals/metrics'
import type { Client } from './client.ts'
import type { ClientList } from './client-list.ts'

const DURATIONS = 'http_client_request_duration_seconds'
const FEWEST_REQUESTS = 12
/** A p95 that is right at its threshold is passed by one request in twenty. */
const EXPECTED_ABOVE_P95 = 0.05
const SURPRISE = 1e-4
/** Waiting for our own pool, p95, that is worth a word. */
const LONG_QUEUE_MS = 50

/** Upstreams whose time to the first byte is over the threshold by more than chance. */
export function slowUpstream(clients: ClientList): Detector {
  return {
    name: 'slow_upstream',
    description:
      'Upstreams whose answers begin later than slowUpstreamMs (p95), our own queue aside',
    inspect: (window) => eachOrigin(clients, window, judgeSlowness)
  }
}

/** Pools of ours that calls wait for, or that refuse calls. */
export function poolExhausted(clients: ClientList): Detector {
  return {
    name: 'http_pool_exhausted',
    description: `HTTP clients whose calls wait over ${LONG_QUEUE_MS} ms for a connection of our own (p95), or are refused`,
    inspect: (window) => eachOrigin(clients, window, judgeQueue)
  }
}

type Judge = (client: Client, origin: string, window: Window) => Finding[]

function eachOrigin(clients: ClientList, window: Window, judge: Judge): Finding[] {
  return clients.list.flatMap((client) =>
    client.origins.list.flatMap(({ origin }) => judge(client, origin, window))
  )
}

function judgeSlowness({ name, options }: Client, origin: string, window: Window): Finding[] {
  const { slowUpstreamMs } = options
  const times = window.histogram(DURATIONS, { client: name, origin, phase: 'first_byte' })
  if (times.count < FEWEST_REQUESTS) return []
  const late = times.countAbove(slowUpstreamMs / 1000)
  if (binomialTail(late, times.count, EXPECTED_ABOVE_P95) >= SURPRISE) return []
  const p95Ms = (times.quantile(0.95) ?? 0) * 1000
  return [
    {
      type: 'slow_upstream',
      severity: severityOf(p95Ms / slowUpstreamMs),
      cause: `${origin}, called by the client "${name}", takes ${Math.round(p95Ms)} ms to answer (p95), over ${slowUpstreamMs} ms`,
      evidence: {
        client: name,
        origin,
        request_count: times.count,
        p50_ms: (times.quantile(0.5) ?? 0) * 1000,
        p95_ms: p95Ms,
        p99_ms: (times.quantile(0.99) ?? 0) * 1000,
        requests_over_threshold: late
      },
      recommendations: [
        'Look at that service: the time is measured from when the request was sent, our own queue aside',
        'If some of its answers are fast, hedging of calls that may be made twice shortens the slow ones'
      ]
    }
  ]
}

function judgeQueue({ name, options }: Client, origin: string, window: Window): Finding[] {
  const waits = window.histogram(DURATIONS, { client: name, origin, phase: 'queue' })
  const refused = refusedIn(window, name, origin)
  const calls = waits.count + refused
  const long = waits.countAbove(LONG_QUEUE_MS / 1000) + refused
  const isChance = binomialTail(long, calls, EXPECTED_ABOVE_P95) >= SURPRISE
  if (calls < FEWEST_REQUESTS || isChance) return []
  const answers = window.histogram(DURATIONS, { client: name, origin, phase: 'first_byte' })
  return [
    {
      type: 'http_pool_exhausted',
      severity: refused === 0 ? 'medium' : refused * 5 > calls ? 'critical' : 'high',
      cause: `calls of the client "${name}" wait for one of our own ${options.connections} connections to ${origin}`,
      evidence: {
        client: name,
        origin,
        max_connections: options.connections,
        call_count: calls,
        refused,
        p95_queue_ms: (waits.quantile(0.95) ?? 0) * 1000,
        p95_upstream_ms: (answers.quantile(0.95) ?? 0) * 1000
      },
      recommendations: [
        'If the upstream is as fast as ever, raise connections; if it became slow, that is the cause',
        'See that every answer is read or dumped: until then it holds its connection'
      ]
    }
  ]
}

function refusedIn(window: Window, client: string, origin: string): number {
  return ['pool_full', 'pool_wait_timeout'].reduce(
    (sum, result) => sum + window.counter('http_client_requests_total', { client, origin, result }),
    0
  )
}

/** @param ratio how many times over its threshold */
function severityOf(ratio: number): Severity {
  if (ratio >= 10) return 'critical'
  if (ratio >= 4) return 'high'
  return ratio >= 2 ? 'medium' : 'low'
}
