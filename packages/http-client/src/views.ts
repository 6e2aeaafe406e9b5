import type { View } from '@fastify-vitals/metrics'
import { BREAKER_STATES } from '@fastify-vitals/circuit-breaker'
import Type from 'typebox'
import type { Client } from './client.ts'
import type { ClientList } from './client-list.ts'
import type { Upstream } from './upstream.ts'

const nullableNumber = Type.Union([Type.Number(), Type.Null()])
const nullableString = Type.Union([Type.String(), Type.Null()])

const poolSchema = Type.Object({
  client: Type.String(),
  origin: Type.String(),
  active: Type.Number(),
  idle: Type.Number(),
  pending: Type.Number(),
  total: Type.Number(),
  max_connections: Type.Number(),
  requests: Type.Number(),
  failed: Type.Number(),
  refused: Type.Number(),
  average_latency_ms: nullableNumber,
  p95_first_byte_ms: nullableNumber,
  p95_queue_ms: nullableNumber,
  last_used: nullableString,
  breaker: Type.Union(
    [...BREAKER_STATES, null].map((state) => (state === null ? Type.Null() : Type.Literal(state)))
  ),
  ejected: Type.Boolean()
})

/** Every pool of connections: who uses it, who waits, how it went. */
export function poolsView(clients: ClientList, now: () => number): View {
  return {
    name: 'pools',
    description:
      'Every pool of an HTTP client: connections in use, idle and open, calls that wait, how calls went',
    schema: Type.Object({ pools: Type.Array(poolSchema) }),
    read: () => ({
      pools: clients.list.flatMap((client) =>
        client.origins.list.map((upstream) => shown(client, upstream, now()))
      )
    })
  }
}

function shown(client: Client, upstream: Upstream, nowMs: number): Record<string, unknown> {
  const { figures, slots, meter } = upstream
  return {
    client: client.name,
    origin: upstream.origin,
    active: slots.running,
    idle: upstream.idleSockets,
    pending: slots.waiting,
    total: upstream.openSockets,
    max_connections: client.options.connections,
    requests: figures.requests,
    failed: figures.failed,
    refused: figures.refused,
    average_latency_ms: figures.requests === 0 ? null : figures.totalMs / figures.requests,
    p95_first_byte_ms: meter.p95Ms('first_byte') ?? null,
    p95_queue_ms: meter.p95Ms('queue') ?? null,
    last_used: figures.lastUsedAt === 0 ? null : new Date(figures.lastUsedAt).toISOString(),
    breaker: upstream.breaker?.state ?? null,
    ejected: client.origins.isEjected(upstream.index, nowMs)
  }
}
