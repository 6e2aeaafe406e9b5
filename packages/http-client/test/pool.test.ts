import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { circuitBreaker } from '@fastify-vitals/circuit-breaker'
import { ManualClock, eventually, pluginProblems, skipOrFail } from '@fastify-vitals/testing'
import fc from 'fast-check'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { httpClient, optionsSchema } from '../src/index.ts'
import { Slots } from '../src/slots.ts'
import type { Waiter } from '../src/slots.ts'
import { appWith, metric, rawUpstream, upstream } from './upstreams.ts'

interface Pool {
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

interface Counted {
  readonly count: number
  readonly parts: { readonly outbound?: number; readonly outbound_queue?: number }
}

function poolOf(app: FastifyInstance): Pool {
  return (app.vitals.views.get('pools')!.read() as { pools: Pool[] }).pools[0]!
}

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

t.test('slots: first come, first served, each given once', (t) => {
  const clock = new ManualClock()
  const slots = new Slots({ limit: 1, maxQueue: 2, queueTimeoutMs: 1000 }, clock.now)
  const told: string[] = []
  const waiter = (name: string): Waiter => ({
    sinceMs: 0,
    settle: (refusal) => void told.push(`${name} ${refusal ?? 'in'}`)
  })
  t.ok(slots.tryTake())
  t.notOk(slots.tryTake())
  const [a, b, c] = [waiter('a'), waiter('b'), waiter('c')]
  for (const each of [a, b, c]) slots.wait(each)
  t.strictSame(told, ['c full'])
  slots.leave(a)
  slots.wait(c)
  slots.release()
  slots.release()
  t.strictSame(told, ['c full', 'b in', 'c in'])
  t.equal(slots.running, 1)
  slots.release()
  t.equal(slots.running, 0)
  slots.tryTake()
  slots.wait(a)
  slots.close()
  slots.wait(b)
  t.strictSame(told.slice(3), ['a closed', 'b closed'])
  t.notOk(slots.tryTake())
  t.end()
})

t.test('slots: never more in than there are, nobody forgotten, whatever comes', (t) => {
  const deed = fc.constantFrom('come', 'go', 'give up', 'wait a while')
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }),
      fc.array(deed, { maxLength: 60 }),
      (limit, deeds) => {
        const clock = new ManualClock()
        const slots = new Slots({ limit, maxQueue: 2, queueTimeoutMs: 1000 }, clock.now)
        const waiting: Waiter[] = []
        let inside = 0
        let coming = 0
        const come = (): void => {
          coming++
          if (slots.tryTake()) return void inside++
          const waiter: Waiter = {
            sinceMs: 0,
            settle: (refusal) => {
              const at = waiting.indexOf(waiter)
              if (at !== -1) waiting.splice(at, 1)
              if (refusal === undefined) inside++
              else coming--
            }
          }
          waiting.push(waiter)
          slots.wait(waiter)
        }
        const go = (): void => {
          if (inside === 0) return
          inside--
          coming--
          slots.release()
        }
        const giveUp = (): void => {
          const waiter = waiting.pop()
          if (waiter === undefined) return
          slots.leave(waiter)
          coming--
        }
        for (const what of deeds) {
          if (what === 'come') come()
          else if (what === 'go') go()
          else if (what === 'give up') giveUp()
          else clock.advance(500)
          const isSound =
            slots.running === inside &&
            inside <= limit &&
            slots.waiting === waiting.length &&
            waiting.length <= 2 &&
            inside + waiting.length === coming &&
            (waiting.length === 0 || inside === limit)
          if (!isSound) return false
        }
        slots.close()
        return waiting.length === 0
      }
    )
  )
  t.end()
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

t.test('calls are counted on the request they are made for, and never on another', async (t) => {
  const up = await upstream(t, async (_request, response) => {
    await wait(10)
    response.end('ok')
  })
  const app = await appWith(t, up, { connections: 10, maxQueue: 1000, queueTimeoutMs: 10_000 })
  app.get('/:calls', async (request) => {
    const { calls } = request.params as { calls: string }
    for (let i = 0; i < Number(calls); i++) {
      await (await app.httpClient('up').request({ path: '/' })).body.text()
    }
    const record = app.vitals.requests.current()!
    const parts = Object.fromEntries(
      [...record.parts].map(([name, part]) => [name, part.totalMs(performance.now())])
    )
    return { count: record.outboundCount, parts }
  })
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => (await app.inject(`/${i % 4}`)).json<Counted>())
  )
  for (const [i, { count, parts }] of answers.entries()) {
    t.equal(count, i % 4)
    if (count > 0) t.ok(parts.outbound! >= 9 * count, `${parts.outbound} ms for ${count} calls`)
  }
  t.ok(
    answers.some(({ parts }) => parts.outbound_queue! > 1),
    'some waited, apart'
  )
})

t.test('after close nothing is alive: no socket, no timer, no call', async (t) => {
  const up = await upstream(t, (request, response) => {
    if (request.url === '/quick') response.end('ok')
    if (request.url === '/busy') response.writeHead(503).end()
    if (request.url === '/body') response.write('some')
  })
  const app = await appWith(t, up, {
    connections: 4,
    retry: { baseMs: 60_000, maxMs: 60_000, maxElapsedMs: 600_000 },
    timeoutMs: 600_000,
    retryBudget: { minPerSecond: 10 }
  })
  const client = app.httpClient('up')
  await (await client.request({ path: '/quick' })).body.dump()
  const half = await client.request({ path: '/body' })
  const calls = ['/hangs', '/busy', '/hangs', '/hangs'].map((path) => client.request({ path }))
  await eventually(() => poolOf(app).active === 4)
  calls.push(client.request({ path: '/queued' }))
  const ends = Promise.allSettled([...calls, half.body.text()])
  await eventually(() => metric(app, 'http_client_retries_total') === 1)
  await app.close()
  for (const end of await ends) {
    t.equal(end.status, 'rejected')
    t.match((end as PromiseRejectedResult).reason, {
      code: 'VITALS_HTTP_CLIENT_CLOSED',
      statusCode: 503
    })
  }
  await eventually(() => up.sockets.size === 0)
  await t.rejects(client.request({ path: '/quick' }), { code: 'VITALS_HTTP_CLIENT_CLOSED' })
})

t.test('calls under way may end while the app closes', async (t) => {
  const up = await upstream(t, async (_request, response) => {
    await wait(80)
    response.end('ok')
  })
  const app = await appWith(t, up, {}, { closeGraceMs: 5000 })
  const call = app.httpClient('up').request({ path: '/' })
  await eventually(() => up.requests.length === 1)
  const closed = app.close()
  t.equal(await (await call).body.text(), 'ok')
  await closed
})

t.test('the SSRF guard refuses what is not public, by address and by name', async (t) => {
  const server = createServer((_request, response) => response.end('secret')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const byName = { origin: `http://localhost:${port}` }
  const guarded = await appWith(t, byName, { ssrfGuard: {} })
  await t.rejects(guarded.httpClient('up').request({ path: '/' }), {
    code: 'VITALS_ADDRESS_BLOCKED'
  })
  t.equal(guarded.breakers.list()[0]!.figures.windowFailures, 0)
  const allowed = await appWith(t, byName, {
    ssrfGuard: { allow: ['localhost'] },
    idleTimeoutMs: 100
  })
  t.equal(await (await allowed.httpClient('up').request({ path: '/' })).body.text(), 'secret')
  for (const origin of [
    'http://127.0.0.1',
    'http://0x7f.1',
    'http://[::ffff:10.0.0.1]',
    'http://169.254.169.254'
  ]) {
    const app = Fastify()
    await t.rejects(
      async () => {
        await app.register(httpClient, { clients: { up: { origins: [origin], ssrfGuard: {} } } })
      },
      { code: 'VITALS_OPTION_INVALID', message: /"origins" must be public/ },
      origin
    )
  }
})

t.test('TLS: an authority of our own is believed when it is given, and only then', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'tls-'))
  t.teardown(async () => await rm(directory, { recursive: true }))
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert]
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const { status } = spawnSync('openssl', [...request, ...names])
  if (status !== 0) return skipOrFail(t, 'openssl is not installed')
  const [keyText, ca] = [await readFile(key, 'utf8'), await readFile(cert, 'utf8')]
  const server = createTlsServer({ key: keyText, cert: ca }, (_request, response) => {
    response.end('secret')
  }).listen(0, 'localhost')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const up = { origin: `https://localhost:${(server.address() as AddressInfo).port}` }
  const strangers = await appWith(t, up)
  await t.rejects(strangers.httpClient('up').request({ path: '/' }), {
    code: 'VITALS_UPSTREAM_UNREACHABLE',
    cause: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }
  })
  t.equal(metric(strangers, 'http_client_retries_total'), 0, 'which no retry would change')
  const friends = await appWith(t, up, { tls: { ca } })
  t.equal(await (await friends.httpClient('up').request({ path: '/' })).body.text(), 'secret')
})

t.test('clients are declared once and found by name', async (t) => {
  const app = Fastify()
  await app.register(httpClient, {
    maxClients: 2,
    clients: { a: { origins: ['http://a.example'] } }
  })
  t.teardown(async () => await app.close())
  t.equal(app.httpClient('a').name, 'a')
  t.equal(app.httpClient('b', { origins: ['http://b.example'] }), app.httpClient('b'))
  t.throws(() => app.httpClient('c'), {
    code: 'VITALS_HTTP_CLIENT_UNKNOWN',
    message: /declared: a, b/
  })
  t.throws(() => app.httpClient('a', { origins: ['http://a.example'] }), {
    code: 'VITALS_HTTP_CLIENT_EXISTS'
  })
  t.throws(() => app.httpClient('c', { origins: ['http://a.example'] }), {
    code: 'VITALS_HTTP_CLIENTS_FULL'
  })
})

t.test('a client that can not be declared leaves nothing behind', async (t) => {
  const app = Fastify()
  await app.register(circuitBreaker, { maxBreakers: 2 })
  await app.register(httpClient)
  t.teardown(async () => await app.close())
  const origins = ['http://a.example', 'http://b.example', 'http://c.example']
  t.throws(() => app.httpClient('up', { origins }), { code: 'VITALS_BREAKERS_FULL' })
  t.strictSame(app.breakers.list(), [])
  t.strictSame(app.vitals.snapshot().http_client_pool ?? [], [])
  t.equal(app.httpClient('up', { origins: origins.slice(1) }).name, 'up')
  t.throws(
    () => app.httpClient('bad', { origins: ['http://d.example'], breaker: { openMs: -1 } }),
    {
      code: 'VITALS_OPTION_INVALID'
    }
  )
  t.equal(app.breakers.list().length, 2)
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

t.test('presets, defaults and the environment lie under what a client is given', async (t) => {
  t.teardown(() => {
    delete process.env.CONNECTION_POOL_TIMEOUT
    delete process.env.CONNECTION_POOL_MAX_IDLE_PER_HOST
  })
  process.env.CONNECTION_POOL_TIMEOUT = '1234'
  process.env.CONNECTION_POOL_MAX_IDLE_PER_HOST = '7'
  const app = Fastify()
  const origins = ['http://a.example']
  await app.register(httpClient, {
    defaults: { timeoutMs: 7000, retry: { maxAttempts: 5 } },
    clients: {
      plain: { origins },
      ai: { origins, preset: 'ai', retry: { baseMs: 7 } },
      test: { origins, preset: 'test', connections: 3 }
    }
  })
  t.teardown(async () => await app.close())
  const options = (name: string): object =>
    (app.httpClient(name) as unknown as { options: object }).options
  t.match(options('plain'), {
    timeoutMs: 7000,
    idleTimeoutMs: 1234,
    maxIdlePerOrigin: 7,
    retry: { maxAttempts: 5, baseMs: 50 }
  })
  t.match(options('ai'), {
    timeoutMs: 600_000,
    idleTimeoutMs: 1234,
    retry: { maxAttempts: 3, baseMs: 7, maxMs: 20_000 }
  })
  t.match(options('test'), {
    idleTimeoutMs: 200,
    connections: 3,
    breaker: false,
    retry: { maxAttempts: 1 }
  })
})

t.test('it does what every plugin must do', async (t) => {
  const up = await rawUpstream(t, () => {})
  const bad = (client: object, message: RegExp) => ({
    options: { clients: { up: { origins: [up.origin], ...client } } },
    message
  })
  const problems = await pluginProblems(httpClient, {
    validOptions: { clients: { up: { origins: [up.origin] } }, closeGraceMs: 100 },
    badOptions: [
      { options: { nonsense: 1 }, message: /"nonsense" is unknown/ },
      { options: { clients: { up: {} } }, message: /"clients.up.origins"/ },
      { options: { clients: { up: 5 } }, message: /"clients.up/ },
      { options: { clients: { '': { origins: ['http://a'] } } }, message: /not empty/ },
      {
        options: { defaults: { connections: 0 } },
        message: /"connections" must be an integer >= 1/
      },
      { options: { defaults: { origins: ['http://a'] } }, message: /"origins" is unknown/ },
      bad({ origins: [] }, /"clients.up.origins"/),
      bad({ origins: ['ftp://a.example'] }, /origins such as/),
      bad({ origins: ['http://a.example/path'] }, /without path/),
      bad({ origins: ['http://u:p@a.example'] }, /credentials/),
      bad({ origins: ['nonsense'] }, /got "nonsense"/),
      bad({ origins: ['http://a.example', 'http://a.example:80'] }, /must differ/),
      bad({ connections: 1.5 }, /"clients.up.connections"/),
      bad({ timeoutMs: -1 }, /"clients.up.timeoutMs"/),
      bad({ preset: 'fast' }, /"clients.up.preset".*"default", "ai", "test"/),
      bad({ retry: { maxAttempts: 0 } }, /"clients.up.retry.maxAttempts"/),
      bad({ retry: { more: 1 } }, /"clients.up.retry.more" is unknown/),
      bad({ retryBudget: { ratio: 2 } }, /"clients.up.retryBudget.ratio"/),
      bad({ hedge: true }, /"clients.up.hedge"/),
      bad({ breaker: { openMs: -1 } }, /openMs/),
      bad({ ssrfGuard: { allow: ['10.0.0.0/99'] } }, /allow/),
      bad({ deadlineHeader: 'Bad Header' }, /deadlineHeader/),
      bad({ tls: 'x' }, /"clients.up.tls"/)
    ]
  })
  t.strictSame(problems, [])
  t.ok(Object.keys(optionsSchema.properties).length > 0)
})

t.test('two registrations beside each other share clients, two apps share nothing', async (t) => {
  const app = Fastify()
  await app.register(await import('@fastify-vitals/metrics').then(({ metrics }) => metrics))
  for (const name of ['a', 'b']) {
    await app.register(async (scope) => {
      await scope.register(httpClient, { clients: { [name]: { origins: ['http://a.example'] } } })
      t.equal(scope.httpClient(name).name, name)
    })
  }
  await app.ready()
  const { pools } = app.vitals.views.get('pools')!.read() as { pools: Pool[] }
  t.strictSame(
    pools.map(({ client }) => client),
    ['a', 'b']
  )
  await app.close()
})
