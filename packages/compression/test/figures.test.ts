import { createHash } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { promtoolCheck, served, skipOrFail } from '@fastify-vitals/testing'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { Value } from 'typebox/value'
import type { Detector, Finding, Window } from '@fastify-vitals/metrics'
import { appWith, ask, jsonText, view } from './clients.ts'

const BR = { headers: { 'accept-encoding': 'br' } }

/** A window over all that was counted since the start. */
function windowOf(app: FastifyInstance): Window {
  const snapshot = app.vitals.snapshot()
  const matching = (name: string, labels: Record<string, unknown> = {}) =>
    (snapshot[name] ?? []).filter((series) =>
      Object.entries(labels).every(([label, value]) => series.labels[label] === value)
    )
  return {
    seconds: 60,
    counters: (name: string, labels?: Record<string, unknown>) => matching(name, labels),
    counter: (name: string, labels?: Record<string, unknown>) =>
      matching(name, labels).reduce((sum, { value }) => sum + value, 0)
  } as unknown as Window
}

function findings(app: FastifyInstance): readonly Finding[] {
  const detector: Detector = app.vitals.detectors.get('compression_advice')!
  return detector.inspect(windowOf(app))
}

t.test(
  'bytes before and after, cost and hits are told by route and encoding, and in all',
  async (t) => {
    const app = await appWith(t)
    const body = jsonText(20_000)
    app.get('/items', (_request, reply) => reply.type('application/json').send(body))
    app.get('/page', (_request, reply) => reply.type('text/html').send(body))
    const { origin } = await served(app)
    const sent = [
      await ask(origin, '/items', BR),
      await ask(origin, '/items', BR),
      await ask(origin, '/items', BR),
      await ask(origin, '/page', { headers: { 'accept-encoding': 'gzip' } })
    ]
    const after = sent.reduce((sum, answer) => sum + answer.body.length, 0)
    const shown = view(app)
    t.ok(Value.Check(app.vitals.views.get('compression')!.schema, shown))
    t.match(shown, {
      responses: 4,
      bytes_before: body.length * 4,
      bytes_after: after,
      bytes_saved: body.length * 4 - after,
      cache_hits: 1
    })
    t.ok(shown.cpu_ms > 0)
    t.match(shown.routes, [
      { method: 'GET', route: '/items', encoding: 'br', responses: 3, cache_hits: 1 },
      { method: 'GET', route: '/page', encoding: 'gzip', responses: 1, cache_hits: 0 }
    ])
  }
)

t.test('the same is in the exposition, under the names that were promised', async (t) => {
  const app = await appWith(t)
  const body = jsonText(5000)
  app.get('/items/:id', (_request, reply) => reply.type('application/json').send(body))
  const { origin } = await served(app)
  const { length } = (await ask(origin, '/items/1?secret=x', BR)).body
  const exposition = await text(app.vitals.scrape().body)
  for (const line of [
    `http_compression_bytes_total{encoding="br",direction="in"} ${body.length}`,
    `http_compression_bytes_total{encoding="br",direction="out"} ${length}`,
    'http_compressions_total{method="GET",route="/items/:id",encoding="br"} 1',
    'http_compression_load_state 0',
    'http_compression_open_streams 0'
  ]) {
    t.match(exposition, line)
  }
  t.notMatch(exposition, 'secret')
  const checked = promtoolCheck(exposition)
  if (checked === undefined) skipOrFail(t, 'promtool is not installed')
  else t.equal(checked.code, 0, checked.output)
})

t.test('what is not compressed is counted by why', async (t) => {
  const app = await appWith(t)
  const body = jsonText(5000)
  app.get('/small', async () => 'x')
  app.get('/json', (_request, reply) => reply.type('application/json').send(body))
  app.get('/octets', (_request, reply) => reply.type('application/octet-stream').send(body))
  app.get('/nt', (_request, reply) => reply.header('cache-control', 'no-transform').send(body))
  app.get('/secret', { config: { compression: { secret: true } } }, async () => body)
  app.get('/off', { config: { compression: false } }, async () => body)
  app.get('/no', { config: { compression: { shouldCompress: () => false } } }, async () => body)
  const { origin } = await served(app)
  for (const path of ['/small', '/octets', '/nt', '/secret', '/off', '/no'])
    await ask(origin, path, BR)
  await ask(origin, '/json')
  t.same(view(app).skipped, {
    small: 1,
    type: 1,
    no_transform: 1,
    secret: 1,
    disabled: 1,
    callback: 1,
    client: 1
  })
})

t.test('compression that costs more than it saves is found, and what to do is said', async (t) => {
  const app = await appWith(t, { cacheBytes: 0 })
  let asked = 0
  app.get('/noise', (_request, reply) => {
    const noise = createHash('shake256', { outputLength: 3000 }).update(String(asked++)).digest()
    return reply.type('text/plain').send(Buffer.concat([noise, Buffer.alloc(150, 'a')]))
  })
  const { origin } = await served(app)
  t.same(findings(app), [])
  for (let i = 0; i < 25; i++)
    await ask(origin, '/noise', { headers: { 'accept-encoding': 'gzip' } })
  t.match(findings(app), [
    {
      type: 'compression_does_not_pay',
      severity: 'low',
      route: 'GET /noise',
      cause: 'compression with gzip saves less than a tenth of the bytes',
      evidence: { encoding: 'gzip', responses: 25, bytes_before: 25 * 3150 },
      recommendations: ['switch it off here with config.compression = false']
    }
  ])
  t.match(view(app).routes[0]?.recommendation, /less than a tenth/)
})

t.test(
  'compression that is missing where it would pay is found; secrets are left alone',
  async (t) => {
    const app = await appWith(t)
    const body = jsonText(60_000)
    app.get('/off', { config: { compression: false } }, async () => body)
    app.get('/type', (_request, reply) => reply.type('application/x-ndjson').send(body))
    app.get('/secret', { config: { compression: { secret: true } } }, async () => body)
    app.get('/picture', (_request, reply) => {
      const noise = Buffer.from(
        Array.from({ length: 60_000 }, (_, i) => (i * i * 31 + (i >> 3) * 17) & 255)
      )
      return reply.type('image/jpeg').send(noise)
    })
    const { origin } = await served(app)
    for (const path of ['/off', '/type', '/secret']) {
      for (let i = 0; i < 2; i++) await ask(origin, path, BR)
    }
    t.match(findings(app), [
      { type: 'compression_missing', route: 'GET /off', evidence: { reason: 'disabled' } },
      { type: 'compression_missing', route: 'GET /type', evidence: { reason: 'type' } }
    ])
    t.equal(findings(app).length, 2)
    t.same(
      view(app).missing.map(({ route }) => route),
      ['/off', '/type']
    )
    t.ok(view(app).missing[0]!.saved_percent > 50)
  }
)

t.test('a reset forgets what was counted', async (t) => {
  const app = await appWith(t)
  app.get('/', async () => jsonText(5000))
  const { origin } = await served(app)
  await ask(origin, '/', BR)
  app.vitals.actions.get('reset')!.run()
  t.equal(view(app).bytes_before, 0)
})

t.test('series stay as many as routes, whatever clients send', async (t) => {
  const app = await appWith(t)
  app.get('/:id', (_request, reply) => reply.type('text/plain').send('text '.repeat(1000)))
  const { origin } = await served(app)
  await ask(origin, '/0', BR)
  const before = JSON.stringify(app.vitals.snapshot()).length
  for (let i = 0; i < 100; i++) {
    await ask(origin, `/${i}`, { headers: { 'accept-encoding': `x${i}, br` } })
  }
  t.ok(JSON.stringify(app.vitals.snapshot()).length < before * 1.5)
})
