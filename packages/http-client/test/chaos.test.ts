import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { eventually } from '@fastify-vitals/testing'
import t from 'tap'
import type { CallBody } from '../src/index.ts'
import { appWith, metric, upstream } from './upstreams.ts'

const CALLS = 400
const AT_ONCE = 40

/** The same numbers each time: whole ones, from 0 to below `n`. */
function seeded(seed: number): (n: number) => number {
  let state = seed
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
}

const random = seeded(20)

/** Everything that an upstream can do, and much of it wrong. */
async function misbehave(response: ServerResponse): Promise<void> {
  const { req: request } = response
  request.on('error', () => {}).resume()
  const deed = random(9)
  await wait(random(10))
  if (deed === 0) return
  if (deed === 1) return void request.socket.destroy()
  if (deed === 2) return void request.socket.end('nonsense\r\n\r\n')
  if (deed === 3) return void response.writeHead(503).end('x'.repeat(random(200_000)))
  if (deed === 4) return void response.writeHead(500).write('x')
  if (deed === 5) {
    response.writeHead(200, { 'content-length': 50 }).write('x')
    return void setTimeout(() => request.socket.destroy(), random(10))
  }
  response.end('ok'.repeat(deed === 6 ? 50_000 : 1))
}

t.test('whatever upstreams, callers and their bodies do, everything is given back', async (t) => {
  const ups = [1, 2, 3].map(() => upstream(t, (_request, response) => misbehave(response)))
  const app = await appWith(t, await Promise.all(ups), {
    connections: 4,
    maxQueue: 20,
    queueTimeoutMs: 50,
    headersTimeoutMs: 400,
    bodyTimeoutMs: 400,
    hedge: { delayMs: 10 },
    retry: { baseMs: 1, maxMs: 10 },
    retryBudget: { ratio: 1, minPerSecond: 100 },
    breaker: { openMs: 40, minimumCalls: 20 },
    outlierEjection: { baseEjectionMs: 20, maxEjectionMs: 40 }
  })
  const streams: Readable[] = []
  const made = (stream: Readable): Readable => {
    streams.push(stream)
    return stream
  }
  const failing = (): Readable => {
    const stream = made(new Readable({ read() {} }))
    setTimeout(() => stream.destroy(new Error('bad body')), random(5))
    return stream
  }
  const bodies: (() => CallBody | (() => CallBody) | undefined)[] = [
    () => undefined,
    () => 'text',
    () => made(Readable.from(['a', 'b'])),
    () => () => made(Readable.from(['a', 'b'])),
    () => failing
  ]
  const callOnce = async (): Promise<void> => {
    const controller = new AbortController()
    if (random(4) === 0) setTimeout(() => controller.abort(), random(20))
    const body = bodies[random(bodies.length)]!()
    const { body: answer } = await app.httpClient('up').request({
      method: body === undefined ? 'GET' : ['PUT', 'POST'][random(2)]!,
      path: '/',
      body,
      signal: controller.signal,
      timeoutMs: 1 + random(400)
    })
    const reading = random(4)
    if (reading === 0) await answer.dump()
    else if (reading === 1) answer.destroy()
    else if (reading === 2) await answer.text()
  }
  const codes = new Set<unknown>()
  let left = CALLS
  const work = async (): Promise<void> => {
    while (left-- > 0) {
      await callOnce().catch((error: { code?: unknown }) => void codes.add(error.code))
      await wait(random(20))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  t.ok(codes.size >= 5, `they failed in ${codes.size} ways`)
  t.notOk(codes.has(undefined), 'each of which has a code')
  await eventually(() => metric(app, 'http_client_pool', { state: 'active' }) === 0)
  t.equal(metric(app, 'http_client_pool', { state: 'pending' }), 0)
  for (const { figures, name } of app.breakers.list()) t.equal(figures.running, 0, name)
  t.ok(streams.length > 50, `${streams.length} streams`)
  t.ok(
    streams.every((stream) => stream.destroyed),
    'each of which is closed'
  )
})
