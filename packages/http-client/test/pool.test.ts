import { setTimeout as wait } from 'node:timers/promises'
import { eventually } from '@fastify-vitals/testing'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { appWith, poolOf, upstream } from './upstreams.ts'

t.test('a full pool of ours is told as such, and the upstream is not blamed', async (t) => {
  const held: (() => void)[] = []
  const up = await upstream(t, (_request, response) => void held.push(() => response.end('ok')))
  const app = await appWith(t, up, {
    connections: 2,
    maxQueue: 2,
    queueTimeoutMs: 60,
    retry: false,
    breaker: { consecutiveFailures: 1 }
  })
  const client = app.httpClient('up')
  const calls = [1, 2].map(() => client.request({ path: '/' }))
  await eventually(() => held.length === 2)
  const waiting = [1, 2].map(() => client.request({ path: '/' }))
  t.match(poolOf(app), { active: 2, pending: 2, total: 2 })
  await t.rejects(client.request({ path: '/' }), {
    code: 'VITALS_POOL_FULL',
    statusCode: 503,
    headers: { 'retry-after': '1' }
  })
  for (const call of waiting) {
    await t.rejects(call, { code: 'VITALS_POOL_WAIT_TIMEOUT', statusCode: 503 })
  }
  for (const end of held) end()
  for (const call of calls) await (await call).body.dump()
  t.equal(up.requests.length, 2)
  t.equal(app.breakers.list()[0]!.state, 'closed')
  t.equal(app.breakers.list()[0]!.figures.windowFailures, 0)
  t.match(poolOf(app), {
    active: 0,
    pending: 0,
    requests: 2,
    failed: 0,
    refused: 3,
    breaker: 'closed'
  })
})

t.test('waiting for our own pool is queue time, not time to the first byte', async (t) => {
  const held: (() => void)[] = []
  const up = await upstream(t, (_request, response) => void held.push(() => response.end('ok')))
  const app = await appWith(t, up, { connections: 1, queueTimeoutMs: 60_000 })
  const first = app.httpClient('up').request({ path: '/' })
  await eventually(() => held.length === 1)
  const second = app.httpClient('up').request({ path: '/' })
  const secondMs = performance.now()
  await wait(60)
  const releasedMs = performance.now()
  held[0]!()
  await (await first).body.dump()
  await eventually(() => held.length === 2)
  held[1]!()
  const { timings, body } = await second
  await body.dump()
  t.equal((await first).timings.queueMs < releasedMs - secondMs, true, 'the first did not wait')
  t.ok(timings.queueMs >= releasedMs - secondMs, `the second waited ${timings.queueMs} ms`)
  t.ok(timings.totalMs >= timings.queueMs + timings.connectMs + timings.firstByteMs)
  const phases = app.vitals.snapshot().http_client_request_duration_seconds!
  const queue = phases.find(({ labels }) => labels.phase === 'queue')!
  t.ok(queue.histogram!.max! >= 0.05)
})

t.test('a deadline that was spent in our queue does not blame the upstream', async (t) => {
  const up = await upstream(t, (request, response) => {
    if (request.url === '/long') setTimeout(() => response.end('ok'), 600)
  })
  const app = await appWith(t, up, {
    connections: 1,
    retry: false,
    breaker: { consecutiveFailures: 1 }
  })
  const client = app.httpClient('up')
  const long = client.request({ path: '/long' })
  await eventually(() => up.requests.length === 1)
  await t.rejects(client.request({ path: '/', timeoutMs: 700 }), {
    code: 'VITALS_DEADLINE_EXCEEDED',
    isUpstreamsFault: false
  })
  await (await long).body.dump()
  t.equal(app.breakers.list()[0]!.state, 'closed')
})

t.test('who gives up waiting leaves the queue', async (t) => {
  const held: (() => void)[] = []
  const up = await upstream(t, (_request, response) => void held.push(() => response.end('ok')))
  const app = await appWith(t, up, { connections: 1, retry: false })
  const client = app.httpClient('up')
  const first = client.request({ path: '/' })
  await eventually(() => held.length === 1)
  const controller = new AbortController()
  const call = client.request({ path: '/', signal: controller.signal })
  t.equal(poolOf(app).pending, 1)
  controller.abort()
  await t.rejects(call, { code: 'VITALS_CALL_ABORTED' })
  t.equal(poolOf(app).pending, 0)
  held[0]!()
  await (await first).body.dump()
  t.equal(up.requests.length, 1)
})

t.test('an answer that nobody reads holds its connection until the deadline', async (t) => {
  const up = await upstream(t, (_request, response) => void response.end('x'.repeat(1_000_000)))
  const app = await appWith(t, up, { timeoutMs: 700 })
  const { body } = await app.httpClient('up').request({ path: '/' })
  t.equal(poolOf(app).active, 1)
  await eventually(() => poolOf(app).active === 0)
  await t.rejects(body.text(), 'and then it is gone')
})

t.test('idle connections are kept as many as allowed, and no longer than allowed', async (t) => {
  const up = await upstream(t, async (_request, response) => {
    await wait(30)
    response.end('ok')
  })
  const burst = async (app: FastifyInstance): Promise<void> => {
    const calls = Array.from({ length: 8 }, () => app.httpClient('up').request({ path: '/' }))
    for (const { body } of await Promise.all(calls)) await body.dump()
  }
  const all = await appWith(t, up, { idleTimeoutMs: 1000 })
  await burst(all)
  t.match(poolOf(all), { idle: 8, total: 8 })
  await eventually(() => poolOf(all).total === 0)
  const few = await appWith(t, up, { maxIdlePerOrigin: 2 })
  await burst(few)
  await eventually(() => poolOf(few).total === 2)
  const fewer = await appWith(t, up, {}, { maxIdle: 3 })
  await burst(fewer)
  await burst(fewer)
  await eventually(() => poolOf(fewer).total <= 3)
})

t.test('the view of pools says how calls went, by its schema', async (t) => {
  const up = await upstream(
    t,
    (request, response) => void response.writeHead(request.url === '/bad' ? 500 : 200).end()
  )
  const app = await appWith(t, up, { retry: false })
  t.match(poolOf(app), { requests: 0, average_latency_ms: null, last_used: null })
  for (const path of ['/', '/bad']) await (await app.httpClient('up').request({ path })).body.dump()
  const pool = poolOf(app)
  t.match(pool, { client: 'up', active: 0, pending: 0, requests: 2, failed: 1 })
  t.ok(pool.idle >= 1)
  t.equal(pool.idle, pool.total)
  t.ok(pool.average_latency_ms! > 0)
  t.ok(Date.parse(pool.last_used!) > 0)
  const gauges = app.vitals.snapshot().http_client_pool!
  t.equal(gauges.find(({ labels }) => labels.state === 'idle')!.value, pool.idle)
})

t.test('detectors name a slow upstream and a full pool, each by itself', async (t) => {
  const up = await upstream(t, async (_request, response) => {
    await wait(60)
    response.end('ok')
  })
  const findings = async (connections: number, slowUpstreamMs: number): Promise<string[]> => {
    const app = await appWith(t, up, { connections, slowUpstreamMs })
    const calls = Array.from({ length: 30 }, () => app.httpClient('up').request({ path: '/' }))
    await Promise.all(calls.map(async (call) => await (await call).body.dump()))
    app.vitals.history.tick()
    const window = app.vitals.history.window(3600)
    return app.vitals.detectors
      .list()
      .flatMap((detector) => [...detector.inspect(window)])
      .map(({ type }) => type)
      .filter((type) => type !== 'breaker_open')
  }
  t.strictSame(await findings(30, 20), ['slow_upstream'])
  t.strictSame(await findings(5, 5000), ['http_pool_exhausted'])
  t.strictSame(await findings(30, 5000), [])
})

t.test('series are made when there is something to show', async (t) => {
  const up = await upstream(t, (_request, response) => void response.end('ok'))
  const app = await appWith(t, up)
  const lines = (): number => {
    const names = ['http_client_requests_total', 'http_client_request_duration_seconds']
    return names.reduce((sum, name) => sum + (app.vitals.snapshot()[name] ?? []).length, 0)
  }
  t.equal(lines(), 0)
  const window = app.vitals.history.window(3600)
  t.strictSame(
    app.vitals.detectors.list().flatMap((detector) => [...detector.inspect(window)]),
    []
  )
  t.match(poolOf(app), { p95_first_byte_ms: null, p95_queue_ms: null })
  await (await app.httpClient('up').request({ path: '/' })).body.dump()
  t.equal(lines(), 5)
})
