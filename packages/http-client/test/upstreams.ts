import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { httpClient } from '../src/index.ts'
import type { ClientOptions, HttpClientOptions } from '../src/index.ts'

/** What a test needs of tap here. */
interface Test {
  teardown(end: () => unknown): void
}

export interface Upstream {
  readonly origin: string
  /** Of all requests so far, in the order of their coming. */
  readonly requests: IncomingMessage[]
  /** Paths of requests whose client went away before they were answered. */
  readonly abandoned: (string | undefined)[]
  /** Connections that are open. */
  readonly sockets: Set<Socket>
  readonly close: () => Promise<void>
}

type Handler = (
  request: IncomingMessage,
  response: ServerResponse,
  nth: number
) => void | Promise<void>

/** A real HTTP server of the test's own. */
export async function upstream(t: Test, handler: Handler): Promise<Upstream> {
  const requests: IncomingMessage[] = []
  const abandoned: (string | undefined)[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    response.on('error', () => {})
    response.on('close', () => {
      if (!response.writableFinished) abandoned.push(request.url)
    })
    void handler(request, response, requests.length)
  })
  return { requests, abandoned, ...(await listening(t, server)) }
}

/** A server that answers a request with whatever bytes. */
export async function rawUpstream(
  t: Test,
  answer: (socket: Socket, nth: number) => void
): Promise<Omit<Upstream, 'requests' | 'abandoned'> & { readonly count: () => number }> {
  let count = 0
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () => answer(socket, ++count))
  })
  return { count: () => count, ...(await listening(t, server)) }
}

async function listening(
  t: Test,
  server: Server
): Promise<Pick<Upstream, 'origin' | 'sockets' | 'close'>> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }
  t.teardown(close)
  const { port } = server.address() as AddressInfo
  return { origin: `http://127.0.0.1:${port}`, sockets, close }
}

/** An app whose client `up` calls these origins. */
export async function appWith(
  t: Test,
  upstreams: { readonly origin: string } | readonly { readonly origin: string }[],
  client: Partial<ClientOptions> = {},
  more: HttpClientOptions = {}
): Promise<FastifyInstance> {
  const app = Fastify()
  const origins = [upstreams].flat().map(({ origin }) => origin)
  await app.register(httpClient, {
    closeGraceMs: 100,
    ...more,
    clients: { up: { origins, ...client } }
  })
  t.teardown(async () => await app.close())
  return app
}

/** One value of the exposition. */
export function metric(
  app: FastifyInstance,
  name: string,
  labels: Readonly<Record<string, string>> = {}
): number {
  const all = app.vitals.snapshot()[name] ?? []
  return all
    .filter((series) =>
      Object.entries(labels).every(([key, value]) => series.labels[key] === value)
    )
    .reduce((sum, series) => sum + series.value, 0)
}

/** A pool, as its view shows it. */
export interface Pool {
  readonly client: string
  readonly active: number
  readonly idle: number
  readonly pending: number
  readonly total: number
  readonly requests: number
  readonly failed: number
  readonly refused: number
  readonly average_latency_ms: number | null
  readonly last_used: string | null
  readonly breaker: string | null
}

export function poolOf(app: FastifyInstance): Pool {
  return (app.vitals.views.get('pools')!.read() as { pools: Pool[] }).pools[0]!
}
