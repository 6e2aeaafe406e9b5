import { request as httpRequest } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { eventually } from '@fastify-vitals/testing'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { CallOptions } from '../src/index.ts'
import { appWith, metric, rawUpstream, upstream } from './upstreams.ts'

/** What a breaker has seen, and where it stands. */
function breakerOf(app: FastifyInstance): { state: string; failures: number; calls: number } {
  const { state, figures } = app.breakers.list()[0]!
  return { state, failures: figures.windowFailures, calls: figures.windowCalls }
}

function failing(): Readable {
  const body = new Readable({ read() {} })
  body.push('some')
  setTimeout(() => body.destroy(Object.assign(new Error('my own'), { code: 'ECONNRESET' })), 1)
  return body
}

async function* failingIterable(): AsyncGenerator<string> {
  yield 'some'
  await wait(1)
  throw new Error('my own')
}

t.test('a request body that fails is its caller giving up, not the upstream', async (t) => {
  const up = await upstream(t, (request, response) => {
    request.on('error', () => {})
    request.resume().on('end', () => response.end('ok'))
  })
  const app = await appWith(t, up, { breaker: { consecutiveFailures: 1 } })
  for (const body of [failing(), failing, failingIterable(), failingIterable]) {
    await t.rejects(app.httpClient('up').request({ method: 'PUT', path: '/', body }), {
      code: 'VITALS_CALL_ABORTED',
      cause: { message: 'my own' }
    })
  }
  t.match(breakerOf(app), { state: 'closed', failures: 0 })
  t.equal(metric(app, 'http_client_requests_total', { result: 'aborted' }), 4)
  t.equal(metric(app, 'http_client_retries_total'), 0)
})

t.test(
  'a request body that fails while its call waits is never sent, and ends no process',
  async (t) => {
    const held: (() => void)[] = []
    const up = await upstream(t, (_request, response) => void held.push(() => response.end('ok')))
    const app = await appWith(t, up, { connections: 1, queueTimeoutMs: 60_000 })
    const client = app.httpClient('up')
    const first = client.request({ path: '/' })
    await eventually(() => held.length === 1)
    const body = new Readable({ read() {} })
    const call = client.request({ method: 'PUT', path: '/', body })
    body.destroy(new Error('my own'))
    await eventually(() => body.closed)
    held[0]!()
    await (await first).body.dump()
    await t.rejects(call, { code: 'VITALS_CALL_ABORTED', cause: { message: 'my own' } })
    t.equal(up.requests.length, 1)
  }
)

t.test(
  'a client that disconnects while it is proxied does not speak against the upstream',
  async (t) => {
    const up = await upstream(t, (request, response) => {
      request.on('error', () => {})
      request.resume().on('end', () => response.end('ok'))
    })
    const app = await appWith(t, up, {
      breaker: { consecutiveFailures: 1 },
      abortWithRequest: false
    })
    app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    app.post('/', async (request) => {
      const body = request.body as Readable
      return await (
        await app.httpClient('up').request({ method: 'POST', path: '/', body })
      ).body.text()
    })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const client = httpRequest(url, { method: 'POST', headers: { 'content-type': 'a/b' } })
    client.on('error', () => {})
    client.write('some')
    await eventually(() => up.requests.length === 1)
    client.destroy()
    await eventually(() => metric(app, 'http_client_requests_total', { result: 'aborted' }) === 1)
    t.match(breakerOf(app), { state: 'closed', failures: 0 })
  }
)

t.test('what only its caller can do wrong is said as such, and blames nobody', async (t) => {
  const up = await upstream(t, (request, response) => {
    request.on('error', () => {})
    request.resume().on('end', () => response.end('ok'))
  })
  const app = await appWith(t, up, { breaker: { consecutiveFailures: 1 } })
  async function* objects(): AsyncGenerator<string> {
    yield { not: 'text' } as unknown as string
  }
  const bodies: unknown[] = [
    new FormData(),
    new URLSearchParams('a=b'),
    new Blob(['a']),
    5,
    () => new FormData(),
    objects(),
    Readable.from([{ not: 'text' }])
  ]
  for (const body of bodies) {
    const call = { method: 'POST', path: '/', body } as CallOptions
    await t.rejects(
      app.httpClient('up').request(call),
      { code: 'VITALS_CALL_INVALID' },
      Object.prototype.toString.call(body)
    )
  }
  t.match(breakerOf(app), { state: 'closed', failures: 0 })
  await eventually(() => metric(app, 'http_client_pool', { state: 'active' }) === 0)
})

t.test('impatient clients open no breaker, however patient they say to be', async (t) => {
  const up = await upstream(t, () => {})
  const breaker = { consecutiveFailures: 1 }
  const app = await appWith(t, up, { retry: false, breaker, slowUpstreamMs: 10 })
  app.get('/', async () => await app.httpClient('up').request({ path: '/' }))
  const headers = { 'x-request-deadline-ms': '120' }
  const answers = await Promise.all([1, 2, 3].map(() => app.inject({ url: '/', headers })))
  for (const answer of answers) t.equal(answer.json().code, 'VITALS_DEADLINE_EXCEEDED')
  t.match(breakerOf(app), { state: 'closed', failures: 0 })
})

t.test('answers that break off or stop open the breaker of their origin', async (t) => {
  const half = 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf'
  const ends = [
    ['VITALS_UPSTREAM_TRUNCATED', await rawUpstream(t, (socket) => void socket.end(half))],
    ['VITALS_UPSTREAM_BODY_TIMEOUT', await rawUpstream(t, (socket) => void socket.write(half))]
  ] as const
  for (const [code, up] of ends) {
    const breaker = { consecutiveFailures: 3 }
    const app = await appWith(t, up, { retry: false, breaker, bodyTimeoutMs: 100 })
    const calls = [1, 2, 3].map(async () => {
      const { body } = await app.httpClient('up').request({ path: '/' })
      await t.rejects(body.text(), { code })
    })
    await Promise.all(calls)
    t.equal(breakerOf(app).state, 'open', code)
    t.equal(up.count(), 3)
  }
})

t.test(
  'an answer that goes on for long is a good one soon, and a bad one when it breaks off',
  async (t) => {
    const sent: (() => void)[] = []
    const up = await upstream(t, (request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('some')
      sent.push(() => request.socket.destroy())
    })
    const app = await appWith(t, up, { retry: false, breaker: { openMs: 100 } })
    const { body } = await app.httpClient('up').request({ path: '/' })
    const whole = body.text()
    await eventually(() => breakerOf(app).calls === 1)
    t.match(breakerOf(app), { state: 'closed', failures: 0 }, 'it is not waited for')
    sent[0]!()
    await t.rejects(whole, { code: 'VITALS_UPSTREAM_TRUNCATED' })
    await eventually(() => breakerOf(app).failures === 1)
  }
)

t.test('an answer that its reader leaves is a good one', async (t) => {
  const up = await upstream(t, (_request, response) => void response.write('some'))
  const app = await appWith(t, up, { retry: false })
  const { body } = await app.httpClient('up').request({ path: '/' })
  body.destroy()
  await eventually(() => breakerOf(app).calls === 1)
  t.match(breakerOf(app), { state: 'closed', failures: 0 })
  t.pass('and leaving it without listening for errors is no uncaught exception')
})
