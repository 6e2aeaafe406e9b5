import { once } from 'node:events'
import { connect as connectHttp2, constants } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import websocket from '@fastify/websocket'
import {
  chromiumDom,
  eventually,
  pluginProblems,
  rawExchange,
  served,
  skipOrFail
} from '@fastify-vitals/testing'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { Value } from 'typebox/value'
import plugin, { assertNoErrors, assertP95 } from '../src/index.ts'
import type { TimingOptions } from '../src/index.ts'

interface EndpointJson {
  method: string
  route: string
  request_count: number
  error_count: number
  p95_ms: number
  average_ms: number
  queries_per_request: number
  last_accessed: string
  outcomes: Record<string, number>
  responses_by_kind: Record<string, number>
  worst_requests: {
    request_id: string
    duration_ms: number
    breakdown_ms: Record<string, number>
  }[]
}

async function appWith(t: Test, options: TimingOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(plugin, options)
  t.teardown(async () => {
    await app.close()
  })
  return app
}

function endpoint(app: FastifyInstance, route: string): EndpointJson | undefined {
  const view = app.vitals.views.get('endpoints')!.read() as { endpoints: EndpointJson[] }
  return view.endpoints.find((each) => `${each.method} ${each.route}` === route)
}

function totals(app: FastifyInstance): Record<string, number> {
  return app.vitals.views.get('requests')!.read() as Record<string, number>
}

/** Waits until so many requests have ended. */
async function ended(app: FastifyInstance, count: number): Promise<void> {
  const { requests } = app.vitals
  await eventually(() => requests.started >= count && requests.inFlight === 0)
}

t.test(
  'it behaves as every plugin here does, and names what is wrong with an option',
  async (t) => {
    t.same(
      await pluginProblems<TimingOptions>(plugin, {
        validOptions: { slowRequestMs: 10, verySlowRequestMs: 20 },
        badOptions: [
          { options: { slowRequestMs: 0 }, message: /"slowRequestMs" must be a number > 0.*got 0/ },
          { options: { slowRequestMs: '1s' }, message: /"slowRequestMs".*got "1s"/ },
          {
            options: { slowRequestMs: 100, verySlowRequestMs: 50 },
            message: /"verySlowRequestMs" must be at least slowRequestMs \(100\), got 50/
          },
          {
            options: { serverTiming: 'sometimes' },
            message: /one of "never", "always", "on-request", got "sometimes"/
          },
          { options: { tenant: 'x' }, message: /"tenant" must be a function, got "x"/ },
          { options: { excludePaths: ['no-slash'] }, message: /"excludePaths" must be a list/ },
          {
            options: { labelNames: ['a'] },
            message: /"labels" and labelNames must be given together/
          },
          { options: { labelNames: ['route'], labels: () => ({}) }, message: /label names repeat/ },
          { options: { worst: 1 }, message: /"worst" is unknown; allowed: / }
        ]
      }),
      []
    )
  }
)

t.test(
  'requests are told apart by method, pattern and status, with no configuration',
  async (t) => {
    const app = await appWith(t)
    app.get('/orders/:id', async () => ({ ok: true }))
    app.register(async (scope) => scope.post('/items', async () => ({ ok: true })), {
      prefix: '/v1'
    })
    const { origin } = await served(app)
    for (const id of [1, 2, 3]) await fetch(`${origin}/orders/${id}?secret=${id}`)
    await fetch(`${origin}/v1/items`, {
      method: 'POST',
      body: '{"a":1}',
      headers: { 'content-type': 'application/json' }
    })
    await ended(app, 4)
    const exposition = await text(app.vitals.scrape().body)
    t.match(
      exposition,
      'http_request_duration_seconds_count{method="GET",route="/orders/:id",status_code="200"} 3'
    )
    t.match(
      exposition,
      'http_request_duration_seconds_count{method="POST",route="/v1/items",status_code="200"} 1'
    )
    t.match(exposition, 'http_request_size_bytes_sum{method="POST",route="/v1/items"} 7')
    t.match(exposition, 'http_response_size_bytes_sum{method="GET",route="/orders/:id"} 33')
    t.notMatch(exposition, 'secret')
  }
)

t.test('HEAD and routes of several methods have figures of their own', async (t) => {
  const app = await appWith(t)
  app.get('/page', async () => 'hello')
  app.route({ method: ['PUT', 'PATCH'], url: '/both', handler: async () => 'ok' })
  const { origin } = await served(app)
  for (const [method, path] of [
    ['HEAD', '/page'],
    ['GET', '/page'],
    ['PUT', '/both'],
    ['PATCH', '/both']
  ] as const) {
    await fetch(origin + path, { method })
  }
  await ended(app, 4)
  for (const route of ['HEAD /page', 'GET /page', 'PUT /both', 'PATCH /both']) {
    t.equal(endpoint(app, route)?.request_count, 1, route)
  }
})

t.test('made-up paths and methods share one label each', async (t) => {
  const app = await appWith(t)
  const { origin, port } = await served(app)
  for (let i = 0; i < 20; i++) await fetch(`${origin}/made-up/${i}`)
  for (const method of ['PROPFIND', 'MKCOL', 'PURGE']) {
    await rawExchange(port, `${method} /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`)
  }
  await ended(app, 23)
  t.equal(endpoint(app, 'GET _UNMATCHED')?.request_count, 20)
  t.equal(endpoint(app, '_OTHER _UNMATCHED')?.request_count, 3)
})

t.test('a route declared before the plugin is timed too', async (t) => {
  const app = Fastify()
  app.get('/early', async () => 'ok')
  await app.register(plugin)
  t.equal((await app.inject('/early')).statusCode, 200)
  t.equal(endpoint(app, 'GET /early')?.request_count, 1)
  await app.close()
})

t.test('what a hook answers counts for the route it was meant for', async (t) => {
  const app = await appWith(t)
  app.addHook('onRequest', async (request, reply) => {
    if (request.url === '/closed') return await reply.code(401).send()
  })
  app.get('/closed', async () => 'never')
  await app.inject('/closed')
  t.match(endpoint(app, 'GET /closed'), { request_count: 1, outcomes: { client_error: 1 } })
})

interface Ending {
  readonly name: string
  readonly outcome: string
  readonly status: number
  readonly add: (app: FastifyInstance) => void
  /** Milliseconds after which the client goes away. */
  readonly leavesAfterMs?: number
  readonly bytes?: string
}

const get = 'GET /it HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
const endings: readonly Ending[] = [
  {
    name: 'a handler that throws',
    outcome: 'server_error',
    status: 500,
    add: (app) =>
      app.get('/it', async () => {
        throw new Error('no')
      })
  },
  {
    name: 'a client that goes away',
    outcome: 'aborted',
    status: 499,
    leavesAfterMs: 40,
    add: (app) => app.get('/it', () => {})
  },
  {
    name: 'a client that goes away in the middle of its body',
    outcome: 'aborted',
    status: 499,
    leavesAfterMs: 40,
    bytes:
      'POST /it HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"a":',
    add: (app) => app.post('/it', async () => 'ok')
  },
  {
    name: 'a client that goes away after its body',
    outcome: 'aborted',
    status: 499,
    leavesAfterMs: 40,
    bytes:
      'POST /it HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}',
    add: (app) => app.post('/it', async () => await wait(100))
  },
  {
    name: 'a handler that takes longer than it may',
    outcome: 'timeout',
    status: 503,
    add: (app) => app.get('/it', { handlerTimeout: 20 }, async () => await wait(100))
  },
  {
    name: 'a connection that the server destroys',
    outcome: 'server_error',
    status: 500,
    add: (app) => app.get('/it', (_request, reply) => void reply.raw.destroy())
  },
  {
    name: 'a stream that fails halfway',
    outcome: 'server_error',
    status: 500,
    add: (app) =>
      app.get('/it', (_request, reply) => {
        let parts = 0
        reply.send(
          new Readable({
            read() {
              if (parts++ < 3) this.push('part')
              else this.destroy(new Error('half'))
            }
          })
        )
      })
  },
  {
    name: 'a hijacked reply',
    outcome: 'success',
    status: 200,
    add: (app) =>
      app.get('/it', (_request, reply) => {
        reply.hijack()
        reply.raw.end('mine')
      })
  },
  {
    name: 'a reply that is sent twice',
    outcome: 'success',
    status: 200,
    add: (app) =>
      app.get('/it', (_request, reply) => {
        reply.send('one')
        reply.send('two')
      })
  },
  {
    name: 'a body that is too large',
    outcome: 'client_error',
    status: 413,
    bytes: `POST /it HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n${' '.repeat(100)}`,
    add: (app) => app.post('/it', { bodyLimit: 10 }, async () => 'ok')
  },
  {
    name: 'a body that is no HTTP any more',
    outcome: 'client_error',
    status: 400,
    bytes:
      'POST /it HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nZZ\r\n',
    add: (app) => app.post('/it', async () => 'ok')
  }
]

for (const { name, outcome, status, add, leavesAfterMs, bytes = get } of endings) {
  t.test(`${name} is counted once, as ${outcome} with ${status}`, async (t) => {
    const app = await appWith(t)
    add(app)
    const { port } = await served(app)
    await rawExchange(port, bytes, leavesAfterMs)
    await ended(app, 1)
    const { method, outcomes } = endpoint(app, 'GET /it') ?? endpoint(app, 'POST /it')!
    t.equal(totals(app).request_count, 1)
    t.equal(outcomes[outcome], 1, JSON.stringify(outcomes))
    const exposition = await text(app.vitals.scrape().body)
    t.match(
      exposition,
      `http_request_duration_seconds_count{method="${method}",route="/it",status_code="${status}"} 1`
    )
    t.equal(totals(app).malformed_count, 0)
  })
}

t.test(
  'pipelined requests are counted one by one, also those whose connection closes before their turn',
  async (t) => {
    const app = await appWith(t)
    app.get('/quick', async () => 'ok')
    app.get('/never', () => {})
    const { port } = await served(app)
    const quick = 'GET /quick HTTP/1.1\r\nhost: a\r\n\r\n'
    await rawExchange(port, quick.repeat(3), 60)
    await rawExchange(
      port,
      get.replace('/it', '/never').replace('connection: close\r\n', '') + quick.repeat(2),
      60
    )
    await ended(app, 6)
    t.match(endpoint(app, 'GET /quick'), { outcomes: { success: 3, aborted: 2 } })
    t.match(endpoint(app, 'GET /never'), { outcomes: { aborted: 1 } })
  }
)

t.test('bytes that are no request are counted apart, with the status they got', async (t) => {
  const app = await appWith(t)
  const { port } = await served(app)
  await rawExchange(port, 'NONSENSE\r\n\r\n')
  await rawExchange(port, `GET / HTTP/1.1\r\nhost: a\r\nbig: ${'x'.repeat(20_000)}\r\n\r\n`)
  const exposition = await eventually(async () => {
    const shown = await text(app.vitals.scrape().body)
    return shown.includes('status_code="431"') && shown
  })
  t.match(exposition, 'http_malformed_requests_total{status_code="400"} 1')
  t.match(exposition, 'http_malformed_requests_total{status_code="431"} 1')
  t.match(totals(app), { request_count: 0, malformed_count: 2 })
})

t.test('keep-alive connections and requests in flight are told', async (t) => {
  const app = await appWith(t)
  app.get('/wait', async () => await wait(80))
  const { origin } = await served(app)
  const answers = [fetch(`${origin}/wait`), fetch(`${origin}/wait`)]
  await eventually(() => totals(app).requests_in_flight === 2)
  t.equal(totals(app).active_connections, 2)
  await Promise.all(answers)
  await ended(app, 2)
  t.equal(totals(app).requests_in_flight, 0)
})

t.test('a stream has its time to the first byte apart from the whole', async (t) => {
  const app = await appWith(t)
  app.get('/stream', (_request, reply) => {
    void reply.send(
      Readable.from(
        (async function* () {
          await wait(30)
          yield 'first'
          await wait(60)
          yield 'last'
        })()
      )
    )
  })
  const { origin } = await served(app)
  t.equal(await (await fetch(`${origin}/stream`)).text(), 'firstlast')
  await ended(app, 1)
  const { http_response_first_byte_seconds: first, http_request_duration_seconds: whole } =
    app.vitals.snapshot()
  t.ok(
    first![0]!.histogram!.sum >= 0.029 && first![0]!.histogram!.sum < 0.08,
    `${first![0]!.histogram!.sum}`
  )
  t.ok(whole![0]!.histogram!.sum >= 0.089)
  t.equal(endpoint(app, 'GET /stream')?.responses_by_kind.stream, 1)
})

t.test('server-sent events and upgrades are a class of their own', async (t) => {
  const app = await appWith(t)
  app.get('/events', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
    reply.raw.write('data: 1\n\n')
  })
  app.server.on('upgrade', (request, socket) => {
    socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n')
    void request
  })
  const { port } = await served(app)
  await rawExchange(
    port,
    'GET /events HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n',
    60
  )
  await ended(app, 1)
  t.match(endpoint(app, 'GET /events'), {
    outcomes: { success: 1, aborted: 0 },
    responses_by_kind: { event_stream: 1 }
  })
  const { http_long_lived_duration_seconds: longLived, http_request_duration_seconds: ordinary } =
    app.vitals.snapshot()
  t.match(longLived![0], { labels: { kind: 'event_stream' }, value: 1 })
  t.same(ordinary, [])
})

t.test(
  'slow requests are logged at two levels, with where their time went, and not without bound',
  async (t) => {
    const lines: { level: number; slow_request?: Record<string, unknown>; msg: string }[] = []
    const app = Fastify({
      logger: {
        level: 'warn',
        stream: { write: (line: string) => void lines.push(JSON.parse(line)) }
      }
    })
    await app.register(plugin, {
      slowRequestMs: 80,
      verySlowRequestMs: 240,
      slowLogLinesPerMinute: 3
    })
    app.vitals.requests.follow()
    app.get<{ Params: { ms: string } }>('/wait/:ms', async ({ params }) => {
      const part = app.vitals.requests.current()!.part('database')
      part.enter(performance.now())
      await wait(Number(params.ms))
      part.leave(performance.now())
      return { ok: true }
    })
    for (const ms of [1, 100, 260]) await app.inject(`/wait/${ms}`)
    t.same(
      lines.map(({ level, msg }) => [level, msg]),
      [
        [40, 'slow request'],
        [50, 'very slow request']
      ]
    )
    const { route, breakdown_ms, query_count } = lines[0]!.slow_request as {
      route: string
      breakdown_ms: Record<string, number>
      query_count: number
    }
    t.equal(route, '/wait/:ms')
    t.equal(query_count, 1)
    t.ok(breakdown_ms.database! >= 98 && breakdown_ms.handler! < 80)
    t.ok('serialisation' in breakdown_ms)
    for (let i = 0; i < 5; i++) await app.inject('/wait/90')
    t.equal(lines.length, 3)
    t.equal(endpoint(app, 'GET /wait/:ms')?.queries_per_request, 1)
    await app.close()
  }
)

t.test('Server-Timing is sent never, always, or to those who ask and may', async (t) => {
  const header = async (options: TimingOptions, headers: Record<string, string> = {}) => {
    const app = await appWith(t, options)
    app.get('/', async () => ({ ok: true }))
    return (await app.inject({ url: '/', headers })).headers['server-timing']
  }
  t.equal(await header({}, { 'x-trace': 'true' }), undefined)
  t.match(await header({ serverTiming: 'always' }), /^total;dur=[\d.]+, handler;dur=[\d.]+/)
  const onRequest: TimingOptions = {
    serverTiming: 'on-request',
    allowTrace: ({ headers }) => headers['x-who'] === 'me'
  }
  t.equal(await header(onRequest, { 'x-trace': 'true' }), undefined)
  t.equal(await header(onRequest, { 'x-who': 'me' }), undefined)
  t.ok(await header(onRequest, { 'x-trace': 'true', 'x-who': 'me' }))
  t.equal(
    await header({ serverTiming: 'on-request' }, { 'x-trace': 'true' }),
    undefined,
    'nobody is allowed by default'
  )
})

t.test('routes can be left out, by path and by themselves', async (t) => {
  const app = await appWith(t, { excludePaths: ['/health', '/internal/*'] })
  app.get('/health', async () => 'ok')
  app.get('/internal/a', async () => 'ok')
  app.get('/off', { config: { timing: false } }, async () => 'ok')
  app.get('/on', async () => 'ok')
  for (const path of ['/health', '/internal/a', '/off', '/on']) await app.inject(path)
  const view = app.vitals.views.get('endpoints')!.read() as { endpoints: EndpointJson[] }
  t.same(
    view.endpoints.map(({ route }) => route),
    ['/on']
  )
})

t.test('tenants and users have figures of their own, the busiest of them', async (t) => {
  const app = await appWith(t, {
    tenant: (request) => request.headers['x-tenant'] as string,
    user: () => 'u1',
    maxTenants: 2
  })
  app.get('/', async () => 'ok')
  for (const tenant of ['a', 'a', 'b', 'c', 'd'])
    await app.inject({ url: '/', headers: { 'x-tenant': tenant } })
  const {
    http_request_duration_by_tenant_seconds: tenants,
    http_request_duration_by_user_seconds: users
  } = app.vitals.snapshot()
  t.same(
    tenants!.map(({ labels, value }) => [labels.tenant, value]),
    [
      ['a', 2],
      ['b', 1],
      ['_OTHER', 2]
    ]
  )
  t.equal(users![0]!.value, 5)
})

t.test('labels on top come from the app, and a callback that throws harms nobody', async (t) => {
  const app = await appWith(t, {
    labelNames: ['plan'],
    labels: (request) => {
      if (request.url === '/bad') throw new Error('no')
      return { plan: 'gold' }
    },
    tenant: () => {
      throw new Error('no')
    },
    serverTiming: 'on-request',
    allowTrace: () => {
      throw new Error('no')
    }
  })
  app.get('/good', async () => 'ok')
  app.get('/bad', async () => 'ok')
  for (const url of ['/good', '/bad']) {
    t.equal((await app.inject({ url, headers: { 'x-trace': 'true' } })).statusCode, 200)
  }
  const { http_request_duration_seconds: durations, http_timing_callback_errors_total: errors } =
    app.vitals.snapshot()
  t.same(
    durations!.map(({ labels }) => labels.plan),
    ['gold', '']
  )
  t.same(Object.fromEntries(errors!.map(({ labels, value }) => [labels.callback, value])), {
    tenant: 2,
    allowTrace: 2,
    labels: 1
  })
})

t.test('the time in front of us is read from what a proxy says, and nonsense is not', async (t) => {
  const app = await appWith(t)
  app.get('/', async () => 'ok')
  const sentMs = Date.now() - 200
  const told = [
    `t=${sentMs / 1000}`,
    String(sentMs),
    String(sentMs * 1000),
    'yesterday',
    '1',
    String(sentMs + 1e7)
  ]
  for (const header of told) await app.inject({ url: '/', headers: { 'x-request-start': header } })
  const [queue] = app.vitals.snapshot().http_request_queue_seconds!
  t.equal(queue!.value, 3)
  t.ok(queue!.histogram!.min! >= 0.19 && queue!.histogram!.max! < 2)
})

t.test(
  'the worst requests of an endpoint are kept, slowest first, without what they asked for',
  async (t) => {
    const app = await appWith(t, { worstRequests: 2 })
    app.get<{ Params: { ms: string } }>(
      '/wait/:ms',
      async ({ params }) => await wait(Number(params.ms))
    )
    for (const ms of [5, 40, 20, 1]) await app.inject(`/wait/${ms}?card=4111`)
    const { worst_requests: worst } = endpoint(app, 'GET /wait/:ms')!
    t.equal(worst.length, 2)
    t.ok(worst[0]!.duration_ms >= 39 && worst[1]!.duration_ms >= 19 && worst[1]!.duration_ms < 39)
    t.notMatch(JSON.stringify(worst), '4111')
  }
)

t.test('views answer as their schemas say, for all time and for a window', async (t) => {
  const app = await appWith(t)
  app.get('/', async () => 'ok')
  await app.inject('/')
  for (const name of ['requests', 'endpoints']) {
    const view = app.vitals.views.get(name)!
    for (const query of [undefined, { window_seconds: 10 }, { window_seconds: '10' }]) {
      t.same([...Value.Errors(view.schema, view.read(query))], [], name)
    }
    t.throws(() => view.read({ window_seconds: -1 }), /window_seconds.*> 0.*got -1/)
    t.throws(() => view.read({ window_seconds: 'x' }), /got "x"/)
  }
  t.match(app.vitals.views.get('endpoints')!.read({ window_seconds: 60 }), {
    endpoints: [{ route: '/', request_count: 1 }]
  })
})

t.test('detectors find slow and failing endpoints, and leave quiet ones alone', async (t) => {
  const app = await appWith(t, { maxP95Ms: 15, maxAverageMs: 15, slowLogLinesPerMinute: 0 })
  app.get('/slow', async () => await wait(30))
  app.get('/fails', async () => {
    throw new Error('no')
  })
  app.get('/fine', async () => 'ok')
  app.get('/once', async () => await wait(30))
  await app.inject('/once')
  for (let i = 0; i < 25; i++)
    await Promise.all(['/slow', '/fails', '/fine'].map(async (url) => await app.inject(url)))
  const window = app.vitals.history.window(60)
  const found = app.vitals.detectors.list().flatMap((detector) => detector.inspect(window))
  t.same(found.map(({ type, route }) => `${type} ${route}`).toSorted(), [
    'high_error_rate GET /fails',
    'high_latency GET /slow'
  ])
  t.match(
    found.find(({ type }) => type === 'high_error_rate'),
    { severity: 'critical', evidence: { error_count: 25 } }
  )
})

t.test('test suites can assert on latency and errors, and are told the figures', async (t) => {
  const app = await appWith(t)
  t.throws(() => assertP95(app, 10), /saw no request/)
  app.get('/slow', async () => await wait(25))
  app.get('/fails', async () => {
    throw new Error('no')
  })
  await app.inject('/slow')
  await app.inject('/fails')
  assertP95(app, 5000)
  t.throws(
    () => assertP95(app, 10, 'GET /slow'),
    /GET \/slow has a p95 of 2\d.* ms, allowed are 10 ms/
  )
  t.throws(() => assertP95(app, 10, 'GET /nowhere'), /saw no request; those that did: .*GET \/slow/)
  assertNoErrors(app, 'GET /slow')
  t.throws(() => assertNoErrors(app), /GET \/fails failed 1 of 1 requests/)
})

t.test('a reset forgets all figures and counting goes on', async (t) => {
  const app = await appWith(t)
  app.get('/', async () => 'ok')
  await app.inject('/')
  app.vitals.actions.get('reset')!.run()
  t.equal(totals(app).request_count, 0)
  await app.inject('/')
  t.equal(totals(app).request_count, 1)
})

t.test('Apdex is the share of satisfied and half of the tolerating', async (t) => {
  const app = await appWith(t, { apdexTargetMs: 20 })
  app.get<{ Params: { ms: string } }>(
    '/wait/:ms',
    async ({ params }) => await wait(Number(params.ms))
  )
  for (const ms of [1, 1, 40, 120]) await app.inject(`/wait/${ms}`)
  t.equal(totals(app).apdex, (2 + 1 / 2) / 4)
})

t.test('HTTP/2 requests are counted, whole and given up', async (t) => {
  const app = Fastify({ http2: true })
  await app.register(plugin)
  app.get('/quick', async () => ({ ok: true }))
  app.get('/never', () => {})
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  const ask = (path: string) => session.request({ ':path': path })
  const quick = ask('/quick').resume()
  await once(quick, 'end')
  const never = ask('/never')
  never.on('error', () => {})
  await eventually(() => app.vitals.requests.inFlight === 1)
  never.close(constants.NGHTTP2_CANCEL)
  await eventually(() => app.vitals.requests.inFlight === 0)
  const view = app.vitals.views.get('endpoints')!.read() as { endpoints: EndpointJson[] }
  const outcomes = Object.fromEntries(view.endpoints.map((each) => [each.route, each.outcomes]))
  t.match(outcomes, { '/quick': { success: 1 }, '/never': { aborted: 1 } })
  session.close()
  await app.close()
})

t.test('an upgraded connection is of its own kind, and lasts as long as it is open', async (t) => {
  const app = await appWith(t)
  await app.register(websocket)
  app.get('/live', { websocket: true }, (socket) => {
    socket.send('hello')
  })
  const { port } = await served(app)
  const key = 'dGhlIHNhbXBsZSBub25jZQ=='
  const bytes = `GET /live HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${key}\r\n\r\n`
  t.match(await rawExchange(port, bytes, 80), '101 Switching Protocols')
  await ended(app, 1)
  t.match(endpoint(app, 'GET /live'), { request_count: 1, responses_by_kind: { upgrade: 1 } })
  const [longLived] = app.vitals.snapshot().http_long_lived_duration_seconds!
  t.match(longLived, { labels: { kind: 'upgrade' }, value: 1 })
  t.ok(longLived!.histogram!.sum >= 0.05)
})

t.test('a real browser reads Server-Timing', async (t) => {
  const app = await appWith(t, { serverTiming: 'always' })
  app.get('/', async (_request, reply) => {
    await wait(30)
    return await reply.type('text/html').send(PAGE)
  })
  const { origin } = await served(app)
  const dom = await chromiumDom(`${origin}/`)
  if (dom === undefined) return skipOrFail(t, 'chromium is not installed')
  const entries = JSON.parse(/\[.*\]/.exec(dom)![0]) as { name: string; duration: number }[]
  t.same(
    entries.slice(0, 2).map(({ name }) => name),
    ['total', 'handler']
  )
  t.ok(entries[0]!.duration >= 29)
})

/** Shows what the browser understood of the page's own Server-Timing header. */
const PAGE = `<!doctype html><title>t</title><body><script>
document.body.textContent = JSON.stringify(performance.getEntriesByType('navigation')[0].serverTiming)
</script>`
