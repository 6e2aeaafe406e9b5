import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { circuitBreaker } from '@fastify-vitals/circuit-breaker'
import { eventually, pluginProblems, skipOrFail } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import t from 'tap'
import { httpClient, optionsSchema } from '../src/index.ts'
import { appWith, metric, poolOf, rawUpstream, upstream } from './upstreams.ts'
import type { Pool } from './upstreams.ts'

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
