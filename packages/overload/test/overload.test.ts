import { once } from 'node:events'
import { ServerResponse } from 'node:http'
import { connect as connectHttp2, constants } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { Readable } from 'node:stream'
import { eventually, pluginProblems, rawExchange, served } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { Value } from 'typebox/value'
import plugin from '../src/index.ts'
import type { OverloadOptions } from '../src/index.ts'
import { LoopWatch } from '../src/loop-watch.ts'

const ONE: OverloadOptions = { limit: { min: 1, max: 1, initial: 1 } }

async function appWith(t: Test, options: OverloadOptions = {}): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(plugin, options)
  t.teardown(async () => await app.close())
  return app
}

/** Handlers that answer when the test says so, and from then on at once. */
class Gate {
  readonly #opened: Promise<void>
  open!: () => void

  constructor() {
    this.#opened = new Promise((resolve) => (this.open = resolve))
  }

  readonly pass = async (): Promise<string> => {
    await this.#opened
    return 'ok'
  }
}

interface ViewJson {
  readonly limit: number
  readonly in_flight: number
  readonly queued: number
  readonly long_lived: number
  readonly requests: readonly { priority: string; results: Record<string, number> }[]
  readonly partitions: readonly { name: string; in_flight: number }[]
}

function view(app: FastifyInstance): ViewJson {
  return app.vitals.views.get('overload')!.read() as ViewJson
}

function results(app: FastifyInstance, priority: string): Record<string, number> {
  const { results: all } = view(app).requests.find((each) => each.priority === priority)!
  return Object.fromEntries(Object.entries(all).filter(([, count]) => count > 0))
}

t.test('behaves as every plugin of the house does', async (t) => {
  const problems = await pluginProblems(plugin, {
    validOptions: { limit: { min: 1 }, partitions: { a: 0.5 }, exempt: ['/x*'] },
    badOptions: [
      { options: { limit: { min: 0 } }, message: /limit\.min.*>= 1.*got 0/ },
      { options: { limit: { min: 9, max: 5 } }, message: /limit\.max.*at least min \(9\), got 5/ },
      { options: { limit: { max: 5, initial: 9 } }, message: /limit\.initial.*between.*got 9/ },
      { options: { limit: { tolerance: 0.5 } }, message: /limit\.tolerance.*>= 1.*got 0\.5/ },
      { options: { queue: { maxWaitMs: -1 } }, message: /queue\.maxWaitMs.*> 0.*got -1/ },
      {
        options: { queue: { maxWaitMs: 3 } },
        message: /queue\.minWaitMs.*at most maxWaitMs \(3\), got 5/
      },
      { options: { partitions: { '': 0.5 } }, message: /partitions.*names/ },
      { options: { guards: { maxUtilisation: 2 } }, message: /maxUtilisation.*<= 1.*got 2/ },
      { options: { guards: { maxHeap: 1 } }, message: /guards\.maxHeap.*unknown.*maxHeapRatio/ },
      { options: { partitions: { a: 0.6, b: 0.6 } }, message: /partitions.*add up to 1.*got 1\.2/ },
      { options: { partitions: { a: 0 } }, message: /partitions\.a.*> 0.*got 0/ },
      { options: { priority: 'high' }, message: /priority.*function.*got "high"/ },
      { options: { exempt: '/health' }, message: /exempt.*list.*got "\/health"/ },
      { options: { retryAfterSeconds: 0 }, message: /retryAfterSeconds.*>= 1.*got 0/ }
    ]
  })
  t.same(problems, [])
})

t.test('a route with impossible settings does not register', async (t) => {
  const app = await appWith(t, { partitions: { a: 0.5 } })
  const add = (overload: unknown) => () =>
    app.get('/x', { config: { overload: overload as false } }, async () => 'ok')
  t.throws(add({ priority: 'urgent' }), /GET \/x.*priority.*"critical".*got "urgent"/)
  t.throws(add({ partition: 'b' }), /GET \/x.*partition.*one of a, got "b"/)
  t.throws(add({ weight: 2 }), /GET \/x.*weight.*unknown/)
  t.throws(add(true), /GET \/x.*must be an object, got true/)
})

t.test('who is turned away gets 503, a problem and when to come back', async (t) => {
  const app = await appWith(t, { ...ONE, queue: { maxLength: 0 }, retryAfterSeconds: 4 })
  app.addHook('onRequest', async (_request, reply) => void reply.header('x-cors', 'yes'))
  const gate = new Gate()
  app.get('/', gate.pass)
  const { origin } = await served(app)
  const first = fetch(origin)
  await eventually(() => app.overload.inFlight === 1)
  const refused = await fetch(origin)
  t.equal(refused.status, 503)
  t.equal(refused.headers.get('content-type'), 'application/problem+json')
  t.equal(refused.headers.get('x-cors'), 'yes', 'what earlier hooks have set is kept')
  const after = Number(refused.headers.get('retry-after'))
  t.ok(after >= 4 && after <= 6, 'spread, lest all come at once')
  t.match(await refused.json(), {
    type: 'about:blank',
    title: 'Service Unavailable',
    status: 503,
    code: 'VITALS_OVERLOADED',
    retry_after_seconds: after
  })
  gate.open()
  t.equal((await first).status, 200)
  t.same(results(app, 'normal'), { admitted: 1, refused_full: 1 })
})

t.test('who finds no room waits, and is let in when there is', async (t) => {
  const app = await appWith(t, { ...ONE, queue: { maxWaitMs: 60_000 } })
  const gate = new Gate()
  app.get('/', gate.pass)
  app.post('/', gate.pass)
  const { origin } = await served(app)
  const first = fetch(origin)
  await eventually(() => app.overload.inFlight === 1)
  const second = fetch(origin, { method: 'POST', body: 'x'.repeat(100) })
  await eventually(() => app.overload.waiting === 1)
  gate.open()
  t.equal((await first).status, 200)
  t.equal((await second).status, 200)
  t.match(app.vitals.snapshot().overload_queue_wait_seconds![0], { value: 1 })
})

t.test('the most important of those who wait goes first, by route and by caller', async (t) => {
  const app = await appWith(t, {
    ...ONE,
    queue: { maxWaitMs: 60_000, standingAfterMs: 60_000 },
    priority: ({ headers }) => headers['x-priority'] as 'low'
  })
  const gate = new Gate()
  const order: string[] = []
  app.get('/', gate.pass)
  for (const priority of ['low', 'normal', 'high', 'critical'] as const) {
    app.get(`/${priority}`, { config: { overload: { priority } } }, async () => {
      order.push(priority)
    })
  }
  const { origin } = await served(app)
  const asked = [fetch(origin)]
  await eventually(() => app.overload.inFlight === 1)
  for (const path of ['low', 'normal', 'high', 'critical']) {
    asked.push(fetch(`${origin}/${path}`))
    await eventually(() => app.overload.waiting === asked.length - 1)
  }
  asked.push(fetch(`${origin}/high`, { headers: { 'x-priority': 'low' } }))
  await eventually(() => app.overload.waiting === 5)
  gate.open()
  await Promise.all(asked)
  t.same(order, ['critical', 'high', 'normal', 'low', 'high'])
})

t.test(
  'a priority function that throws or talks nonsense harms nobody, and is counted',
  async (t) => {
    const app = await appWith(t, {
      priority: ({ url }) => {
        if (url === '/throws') throw new Error('no')
        return url.slice(1) as 'low'
      },
      partition: () => 'nowhere'
    })
    app.get('/*', async () => 'ok')
    for (const url of ['/throws', '/nonsense', '/__proto__', '/high']) {
      t.equal((await app.inject(url)).statusCode, 200)
    }
    t.same(results(app, 'normal'), { admitted: 3 })
    t.same(results(app, 'high'), { admitted: 1 })
    const failed = app.vitals.snapshot().overload_callback_errors_total!
    const counts = Object.fromEntries(failed.map(({ labels, value }) => [labels.callback, value]))
    t.same(counts, { priority: 3, partition: 4 })
  }
)

t.test('a partition keeps its share when others take all they can get', async (t) => {
  const app = await appWith(t, {
    limit: { min: 4, max: 4, initial: 4 },
    queue: { maxLength: 0 },
    partitions: { checkout: 0.25 }
  })
  const gate = new Gate()
  app.get('/', gate.pass)
  app.get('/pay', { config: { overload: { partition: 'checkout' } } }, async () => 'paid')
  app.get('/later', { config: { overload: { partition: 'checkout' } } }, gate.pass)
  const { origin } = await served(app)
  const others = Array.from({ length: 4 }, async () => await fetch(origin))
  await eventually(() => app.overload.inFlight === 4)
  t.equal((await fetch(origin)).status, 503)
  const late = fetch(`${origin}/later`)
  await eventually(() => view(app).partitions[0]!.in_flight === 1)
  t.equal((await fetch(`${origin}/pay`)).status, 503, 'its share and no more')
  gate.open()
  await Promise.all([...others, late])
  await eventually(() => app.overload.inFlight === 0)
  t.equal((await fetch(`${origin}/pay`)).status, 200)
})

t.test('health, metrics, admin and whoever says so are let in whatever happens', async (t) => {
  const app = await appWith(t, { ...ONE, queue: { maxLength: 0 }, guards: { maxRssBytes: 1 } })
  const gate = new Gate()
  app.get('/', gate.pass)
  for (const url of ['/health', '/health/live', '/metrics', '/live', '/admin/vitals']) {
    app.get(url, async () => 'ok')
  }
  app.get('/free', { config: { overload: false } }, async () => 'ok')
  app.get('/lives', async () => 'ok')
  const { origin } = await served(app)
  const first = fetch(origin)
  await eventually(() => app.overload.inFlight === 1)
  for (const path of ['/health', '/health/live', '/metrics', '/live', '/admin/vitals', '/free']) {
    t.equal((await fetch(origin + path)).status, 200, path)
  }
  t.equal((await fetch(`${origin}/lives`)).status, 503, 'a route that is not exempt')
  gate.open()
  await first
})

t.test('a place is given back once, however its request ends', async (t) => {
  const app = await appWith(t, { limit: { min: 50, max: 50, initial: 50 } })
  const gate = new Gate()
  app.get('/ok', async () => 'ok')
  app.get('/waits', gate.pass)
  app.post('/waits', gate.pass)
  app.get('/fails', async () => {
    throw new Error('no')
  })
  app.get('/hijacked', (_request, reply) => {
    reply.hijack()
    reply.raw.end('mine')
  })
  app.get('/stream', async (_request, reply) => await reply.send(Readable.from(['a', 'b'])))
  app.get(
    '/broken',
    async (_request, reply) =>
      await reply.send(
        Readable.from(
          (async function* () {
            yield 'a'
            throw new Error('broken')
          })()
        )
      )
  )
  app.get(
    '/early',
    { onRequest: async (_request, reply) => await reply.code(401).send() },
    () => {}
  )
  const { port } = await served(app)
  const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nhost: a\r\n${more}\r\n`
  const close = 'connection: close\r\n'
  const post =
    'POST /waits HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\n'
  const exchanges: Record<string, [string, number?]> = {
    answered: [get('/ok', close)],
    failed: [get('/fails', close)],
    hijacked: [get('/hijacked', close)],
    streamed: [get('/stream', close)],
    'broken stream': [get('/broken', close)],
    'answered by a hook': [get('/early', close)],
    'head request': [`HEAD /ok HTTP/1.1\r\nhost: a\r\n${close}\r\n`],
    'aborted get': [get('/waits'), 50],
    'aborted post, body read': [`${post}hello`, 50],
    'aborted post, body missing': [post, 50],
    pipelined: [get('/ok') + get('/ok', close)],
    'aborted pipeline': [get('/waits') + get('/ok') + get('/waits'), 50]
  }
  for (const [what, [bytes, closeAfterMs]] of Object.entries(exchanges)) {
    await rawExchange(port, bytes, closeAfterMs)
    await eventually(() => app.overload.inFlight === 0)
    t.equal(app.overload.inFlight, 0, what)
  }
  await app.inject('/ok')
  await app.inject('/fails')
  t.equal(app.overload.inFlight, 0, 'injected')
  gate.open()
  await app.inject('/ok')
  t.equal(
    app.overload.inFlight,
    0,
    'handlers that go on after their client has gone change nothing'
  )
  t.same(Object.keys(results(app, 'normal')), ['admitted'])
})

t.test('who goes away while waiting leaves the queue, and its handler never runs', async (t) => {
  const app = await appWith(t, { ...ONE, queue: { maxWaitMs: 60_000 } })
  const gate = new Gate()
  let runs = 0
  app.get('/', gate.pass)
  app.get('/counts', async () => void runs++)
  const { origin, port } = await served(app)
  const first = fetch(origin)
  await eventually(() => app.overload.inFlight === 1)
  const bytes = 'GET /counts HTTP/1.1\r\nhost: a\r\n\r\n'
  await Promise.all(Array.from({ length: 20 }, () => rawExchange(port, bytes, 100)))
  await eventually(() => app.overload.waiting === 0)
  gate.open()
  await first
  await eventually(() => app.overload.inFlight === 0)
  t.equal(runs, 0)
  t.same(results(app, 'normal'), { admitted: 1, abandoned: 20 })
})

t.test('an upgraded connection holds its place, then gives it back as streams do', async (t) => {
  const app = await appWith(t, { longLivedMs: 300 })
  app.get('/socket', (request, reply) => {
    reply.hijack()
    const { socket } = request.raw
    socket.resume().once('end', () => socket.end())
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n')
  })
  app.get('/events', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
    reply.raw.write('data: 1\n\n')
  })
  // without a listener Node does not let a request upgrade
  app.server.on('upgrade', (request, socket) => {
    const response = new ServerResponse(request)
    response.assignSocket(socket as Socket)
    app.routing(request, response)
  })
  const { port } = await served(app)
  const upgrade = 'connection: upgrade\r\nupgrade: mine\r\n'
  const live = rawExchange(port, `GET /socket HTTP/1.1\r\nhost: a\r\n${upgrade}\r\n`, 1000)
  const events = rawExchange(port, 'GET /events HTTP/1.1\r\nhost: a\r\n\r\n', 1000)
  await eventually(() => app.overload.inFlight === 2)
  await eventually(() => view(app).long_lived === 2)
  t.equal(app.overload.inFlight, 0)
  t.match(await live, '101 Switching')
  t.match(await events, 'data: 1')
  await eventually(() => view(app).long_lived === 0)
  t.equal(app.overload.inFlight, 0)
})

t.test('HTTP/2 streams give their places back, whole and given up', async () => {
  const app = Fastify({ http2: true })
  await app.register(plugin)
  app.get('/quick', async () => ({ ok: true }))
  app.get('/never', () => {})
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  const quick = session.request({ ':path': '/quick' }).resume()
  await once(quick, 'end')
  const never = session.request({ ':path': '/never' })
  never.on('error', () => {})
  await eventually(() => app.overload.inFlight === 1)
  never.close(constants.NGHTTP2_CANCEL)
  await eventually(() => app.overload.inFlight === 0)
  session.close()
  await app.close()
})

t.test('streams, errors and routes that say so do not teach the limit', async (t) => {
  const app = await appWith(t, { limit: { minSamples: 1, windowMs: 1 } })
  app.get('/stream', async (_request, reply) => await reply.send(Readable.from(['a'])))
  app.get('/fails', async (_request, reply) => await reply.code(500).send({}))
  app.get('/odd', { config: { overload: { learn: false } } }, async () => 'ok')
  app.get('/work', async () => await new Promise((resolve) => setTimeout(resolve, 5, 'ok')))
  const { origin } = await served(app)
  const learned = (): number =>
    (app.vitals.views.get('overload')!.read() as { latency_ms: number }).latency_ms
  for (const path of ['/stream', '/fails', '/odd']) {
    for (let i = 0; i < 5; i++) await (await fetch(origin + path)).text()
    t.equal(learned(), 0, path)
  }
  for (let i = 0; i < 5; i++) await (await fetch(`${origin}/work`)).text()
  t.ok(learned() >= 4)
})

/** Keeps the event loop from everything else. */
function block(ms: number): void {
  for (const endMs = performance.now() + ms; performance.now() < endMs;);
}

t.test('a blocked event loop sheds the unimportant, and lets them in again', async (t) => {
  const app = await appWith(t, { guards: { maxEventLoopDelayMs: 50 } })
  app.get('/low', { config: { overload: { priority: 'low' } } }, async () => 'ok')
  app.get('/vital', { config: { overload: { priority: 'critical' } } }, async () => 'ok')
  const { origin } = await served(app)
  const status = async (path: string): Promise<number> => (await fetch(origin + path)).status
  const blocking = setInterval(() => block(160), 20)
  t.teardown(() => clearInterval(blocking))
  await eventually(async () => (await status('/low')) === 503, 10_000)
  t.equal(await status('/vital'), 200)
  clearInterval(blocking)
  await eventually(
    async () => (view(app) as unknown as { guard_pressure: number }).guard_pressure === 0
  )
  t.equal(await status('/low'), 200)
  t.ok((results(app, 'low').refused_guard ?? 0) > 0)
})

t.test('utilisation is that of the last interval: a block after long idling is seen', async (t) => {
  const watch = new LoopWatch(100, performance.now())
  await new Promise((resolve) => setTimeout(resolve, 600))
  watch.look(performance.now())
  const idle = watch.utilisation
  block(250)
  watch.look(performance.now())
  t.ok(watch.utilisation > 0.9, `${watch.utilisation}, before that ${idle}`)
  t.ok(watch.delayMs >= 100, 'as is the delay')
})

t.test('a heap or process that is too large sheds, but for what is critical', async (t) => {
  for (const guards of [{ maxHeapRatio: 1e-6 }, { maxRssBytes: 1 }]) {
    const app = await appWith(t, { guards })
    app.get('/', async () => 'ok')
    app.get('/vital', { config: { overload: { priority: 'critical' } } }, async () => 'ok')
    await app.ready()
    await eventually(async () => (await app.inject('/')).statusCode === 503)
    t.equal((await app.inject('/vital')).statusCode, 200)
    await app.close()
  }
})

t.test('a dry run counts whom it would turn away, and lets them in', async (t) => {
  const app = await appWith(t, { ...ONE, queue: { maxLength: 0 }, dryRun: true })
  const gate = new Gate()
  app.get('/', gate.pass)
  const { origin } = await served(app)
  const asked = [fetch(origin), fetch(origin), fetch(origin)]
  await eventually(() => app.overload.inFlight === 3)
  gate.open()
  t.same(
    (await Promise.all(asked)).map(({ status }) => status),
    [200, 200, 200]
  )
  t.same(results(app, 'normal'), { admitted: 3, would_refuse: 2 })
})

t.test('much of a body is not read for the sake of a refusal', async (t) => {
  const app = await appWith(t, { ...ONE, queue: { maxLength: 0 } })
  const gate = new Gate()
  app.post('/', gate.pass)
  const { origin, port } = await served(app)
  const first = fetch(origin, { method: 'POST' })
  await eventually(() => app.overload.inFlight === 1)
  const head = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n'
  t.match(await rawExchange(port, head), /^HTTP\/1\.1 503[^]*connection: close/i)
  gate.open()
  await first
})

t.test('the view answers as its schema says, and metrics are shown', async (t) => {
  const app = await appWith(t, { partitions: { a: 0.1 } })
  app.get('/', async () => 'ok')
  await app.inject('/')
  const shownView = app.vitals.views.get('overload')!
  t.same([...Value.Errors(shownView.schema, shownView.read())], [])
  const shown = app.vitals.snapshot()
  for (const name of [
    'overload_saturation_ratio',
    'overload_limit',
    'overload_in_flight',
    'overload_queued',
    'overload_long_lived',
    'overload_guard_pressure_ratio'
  ]) {
    t.equal(shown[name]!.length, 1, name)
  }
  t.match(
    shown.overload_requests_total!.find(({ value }) => value > 0),
    { labels: { priority: 'normal', result: 'admitted' }, value: 1 }
  )
})

t.test('the detector tells what turns away whom, and what to do', async (t) => {
  const app = await appWith(t, { ...ONE, queue: { maxLength: 0 } })
  const gate = new Gate()
  app.get('/', gate.pass)
  const { origin } = await served(app)
  const found = () => app.vitals.detectors.get('overload')!.inspect(app.vitals.history.window(60))
  t.same(found(), [])
  const first = fetch(origin)
  await eventually(() => app.overload.inFlight === 1)
  await fetch(origin)
  t.match(found(), [
    {
      type: 'overload',
      severity: 'critical',
      cause: /1 requests were turned away/,
      evidence: { refused_full: 1, limit: 1 },
      recommendations: [/bottleneck/]
    }
  ])
  gate.open()
  await first
})

t.test('one app has one overload protection', async (t) => {
  const app = await appWith(t)
  await t.rejects(async () => await app.register(plugin), /already registered/)
})
