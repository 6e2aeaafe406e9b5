import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { eventually, pluginProblems } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { Counter, Registry, collectDefaultMetrics } from 'prom-client'
import t from 'tap'
import type { Test } from 'tap'
import { Value } from 'typebox/value'
import plugin, { RouteHooks, ensureVitals, metrics } from '../src/index.ts'
import type { MetricsOptions, PromRegistry } from '../src/index.ts'

async function appWith(t: Test, options: MetricsOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(metrics, options)
  t.teardown(async () => {
    await app.close()
  })
  return app
}

t.test(
  'it behaves as every plugin here does, and names what is wrong with an option',
  async (t) => {
    t.same(
      await pluginProblems<MetricsOptions>(plugin, {
        validOptions: { maxSeries: 10, history: { slotSeconds: 1 } },
        badOptions: [
          { options: { maxSeries: 0 }, message: /"maxSeries" must be an integer >= 1 .*got 0/ },
          {
            options: { naming: 'x' },
            message: /"naming" must be one of "prometheus", "opentelemetry", "both", got "x"/
          },
          { options: { nope: 1 }, message: /"nope" is unknown; allowed: registry, / },
          {
            options: { history: { maxBytes: 5 } },
            message: /"history.maxBytes" must be .*>= 65536.*got 5/
          },
          { options: { history: { x: 5 } }, message: /"history.x" is unknown/ },
          { options: { registry: 3 }, message: /"registry" must be an object instance, got 3/ },
          {
            options: { durationBuckets: [1, 0.5] },
            message: /"durationBuckets" must ascend, got \[1,0.5\]/
          },
          { options: { durationBuckets: ['a'] }, message: /"durationBuckets" must be a list/ },
          { options: { defaultLabels: { 'a-b': 'x' } }, message: /"defaultLabels" .*"a-b"/ },
          {
            options: { runtimeMetrics: 'yes' },
            message: /"runtimeMetrics" must be a boolean.*got "yes"/
          }
        ]
      }),
      []
    )
  }
)

t.test('registering it twice says so', async (t) => {
  const app = await appWith(t)
  await t.rejects(async () => await app.register(metrics), /already registered/)
})

t.test('a plugin that needs the hub finds it, or makes it', async (t) => {
  const app = Fastify()
  t.teardown(async () => {
    await app.close()
  })
  const vitals = await ensureVitals(app)
  t.equal(await ensureVitals(app), vitals)
})

t.test('two apps in one process share nothing', async (t) => {
  const [a, b] = [await appWith(t), await appWith(t)]
  a.vitals.counter({ name: 'a_total', help: 'h' }).with().add()
  t.equal(b.vitals.snapshot().a_total, undefined)
  t.not(a.vitals.registry, b.vitals.registry)
})

t.test("a name that the user's registry has already is refused when it is declared", async (t) => {
  const registry = new Registry()
  new Counter({ name: 'mine_total', help: 'h', registers: [registry] })
  const app = await appWith(t, { registry: registry as unknown as PromRegistry })
  t.throws(
    () => app.vitals.counter({ name: 'mine_total', help: 'h' }),
    /mine_total is already in the registry/
  )
})

t.test('closing the app takes its metrics out of the registry, for the next one', async (t) => {
  const registry = new Registry() as unknown as PromRegistry
  const app = Fastify()
  await app.register(metrics, { registry })
  await app.close()
  t.same(registry.getMetricsAsArray(), [])
  await appWith(t, { registry })
})

t.test('a measured piece of work is counted once, with its outcome and labels', async (t) => {
  const { vitals } = await appWith(t)
  const stop = vitals.startMeasure('Render PDF', { template: 'invoice' })
  const seconds = stop()
  t.equal(stop('error'), seconds)
  const [series] = vitals.snapshot().measure_render_pdf_duration_seconds!
  t.same(series!.labels, { template: 'invoice', outcome: 'success' })
  t.equal(series!.value, 1)
})

t.test('what a tracked operation throws is counted and thrown on', async (t) => {
  const { vitals } = await appWith(t)
  const error = new Error('no')
  await t.rejects(
    vitals.trackAsyncOperation('job', async () => {
      throw error
    }),
    error
  )
  t.equal(await vitals.trackAsyncOperation('job', () => 42), 42)
  const outcomes = vitals
    .snapshot()
    .measure_job_duration_seconds!.map(({ labels }) => labels.outcome)
  t.same(outcomes, ['error', 'success'])
})

t.test('a thousand names of measures stay within a bound', async (t) => {
  const { vitals } = await appWith(t)
  for (let i = 0; i < 1000; i++) vitals.startMeasure(`work ${i}`)()
  const names = Object.keys(vitals.snapshot()).filter((name) => name.startsWith('measure_'))
  t.equal(names.length, 101)
})

t.test('the reset action sets everything to zero', async (t) => {
  const { vitals } = await appWith(t)
  vitals.histogram({ name: 'h_seconds', help: 'h' }).with().record(1)
  t.same(vitals.actions.get('reset')!.run(), { reset: true })
  t.equal(vitals.snapshot().h_seconds![0]!.value, 0)
  t.equal(vitals.history.window(60).histogram('h_seconds').count, 0)
})

t.test('garbage can be collected on demand only where Node allows it', async (t) => {
  const { vitals } = await appWith(t)
  if (globalThis.gc === undefined) t.throws(() => vitals.actions.get('gc')!.run(), /--expose-gc/)
  else t.type((vitals.actions.get('gc')!.run() as { freed_bytes: number }).freed_bytes, 'number')
})

t.test(
  'the cardinality view names the metric and the label that make the most series',
  async (t) => {
    const { vitals } = await appWith(t, { maxSeries: 20 })
    const family = vitals.counter({
      name: 'visits_total',
      help: 'h',
      labelNames: ['shop', 'visitor']
    })
    for (let i = 0; i < 30; i++) family.with({ shop: 'one', visitor: `v${i}` }).add()
    const view = vitals.views.get('cardinality')!.read() as Record<string, unknown>
    t.match(view, {
      refused_total: 10,
      worst: { metric: 'visits_total', label: 'visitor', example: 'v29' }
    })
    t.match(vitals.snapshot().vitals_series_refused, [
      { labels: { metric: 'visits_total' }, value: 10 }
    ])
  }
)

t.test('every view answers as its schema says', async (t) => {
  const app = await appWith(t)
  await app.ready()
  for (const view of app.vitals.views.list()) {
    t.same([...Value.Errors(view.schema, view.read())], [], view.name)
  }
})

t.test('a name is given once to a view, a detector or an action', async (t) => {
  const { vitals } = await appWith(t)
  const action = { name: 'mine', description: 'd', run: () => 1 }
  vitals.actions.add(action)
  t.throws(
    () => vitals.actions.add(action),
    /already a action named "mine"|already an action named "mine"/
  )
  t.equal(vitals.actions.get('mine'), action)
})

t.test('options can come from the environment, and a bad one is named', async (t) => {
  const { resolveOptions } = await import('../src/resolve-options.ts')
  const { default: Type } = await import('typebox')
  const schema = Type.Object({
    limit: Type.Optional(Type.Integer({ minimum: 1, default: 5, env: 'LIMIT' })),
    on: Type.Optional(Type.Boolean({ default: false, env: 'ON' }))
  })
  const resolve = (given: object, env: Record<string, string>): unknown =>
    resolveOptions('p', schema, given, env)
  t.same(resolve({}, { LIMIT: '7', ON: 'true' }), { limit: 7, on: true })
  t.same(resolve({ limit: 2 }, { LIMIT: '7' }), { limit: 2, on: false })
  t.throws(() => resolve({}, { LIMIT: 'many' }), /environment variable LIMIT must be .*got "many"/)
  t.throws(() => resolve({}, { ON: 'maybe' }), /ON/)
})

t.test(
  'options inside of lists, choices and objects by name are completed and named',
  async (t) => {
    const { resolveOptions } = await import('../src/resolve-options.ts')
    const { default: Type } = await import('typebox')
    const rule = Type.Object(
      {
        limit: Type.Optional(Type.Integer({ minimum: 1, default: 5 })),
        sizes: Type.Optional(Type.Array(Type.Integer({ minimum: 0 }), { default: [] }))
      },
      { additionalProperties: false }
    )
    const schema = Type.Object({
      rules: Type.Optional(Type.Array(rule)),
      byName: Type.Optional(Type.Record(Type.String(), rule)),
      choice: Type.Optional(Type.Union([Type.Literal(false), rule]))
    })
    const resolve = (given: object): unknown => resolveOptions('p', schema, given, {})
    const complete = { limit: 5, sizes: [] }
    t.same(resolve({ rules: [{}], byName: { 'a/b': {} }, choice: {} }), {
      rules: [complete],
      byName: { 'a/b': complete },
      choice: complete
    })
    t.same(resolve({ choice: false }), { choice: false })
    const orFunction = Type.Object({
      cost: Type.Union([Type.Integer(), Type.Unsafe({ 'x-kind': 'function', not: {} })]),
      url: Type.String()
    })
    const cost = (): number => 1
    t.same(resolveOptions('p', orFunction, { cost, url: '' }, {}), { cost, url: '' })
    t.throws(() => resolveOptions('p', orFunction, { cost: 'x', url: '' }, {}), {
      message: /option "cost" must be one of an integer, a function, got "x"/
    })
    t.throws(() => resolveOptions('p', orFunction, { cost }, {}), {
      message: /option "url" must be a string, got undefined/
    })
    const { rules, byName } = resolve({ rules: [{}], byName: { a: {} } }) as {
      rules: object[]
      byName: { a: object }
    }
    const needy = Type.Object({ url: Type.String() })
    t.same(resolveOptions('p', Type.Object({ redis: Type.Optional(needy) }), {}, {}), {})
    for (const each of [rules, rules[0], byName, byName.a]) t.ok(Object.isFrozen(each))
    const REFUSALS: [given: object, message: RegExp][] = [
      [{ rules: [{}, { limit: 0 }] }, /option "rules\[1\].limit" must be an integer >= 1, got 0/],
      [{ rules: [{ limt: 1 }] }, /option "rules\[0\].limt" is unknown; allowed: limit, sizes/],
      [{ rules: [{ sizes: [-1] }] }, /option "rules\[0\].sizes" must be a list, .* got \[-1\]/],
      [{ byName: { 'a/b': { limit: 0 } } }, /option "byName.a\/b.limit" must be .* got 0/],
      [{ byName: { a: 3 } }, /option "byName.a" must be an object, got 3/],
      [{ choice: { limit: 0 } }, /option "choice.limit" must be .* got 0/],
      [{ choice: 3 }, /option "choice" must be one of false, an object, got 3/]
    ]
    for (const [given, message] of REFUSALS) t.throws(() => resolve(given), { message })
  }
)

t.test('the hub is there for routes, plugins and scopes of their own', async (t) => {
  const app = await appWith(t)
  const seen: unknown[] = [app.vitals]
  await app.register(async (scope) => void seen.push(scope.vitals))
  app.get('/', async function () {
    seen.push(this.vitals)
  })
  await app.inject('/')
  t.equal(seen.length, 3)
  t.ok(seen.every((vitals) => vitals === app.vitals))
})

const REFUSED: [name: string, options: object, message: RegExp][] = [
  ['durationBuckets', { durationBuckets: [0.1, 0.1] }, /must ascend, got \[0.1,0.1\]/],
  ['durationBuckets', { durationBuckets: [0, 1] }, /a list.*number > 0.*got \[0,1\]/],
  ['durationBuckets', { durationBuckets: [] }, /a list.*got \[\]/],
  ['naming', { naming: 'x' }, /"prometheus", "opentelemetry", "both", got "x"/],
  ['maxSeries', { maxSeries: 1.5 }, /integer >= 1 and <= 1000000.*got 1.5/],
  ['idleSeriesSeconds', { idleSeriesSeconds: -1 }, />= 0.*got -1/],
  ['nativeHistogramSchema', { nativeHistogramSchema: 7 }, />= -4 and <= 6.*got 7/],
  ['diskPaths', { diskPaths: '/' }, /a list.*got "\/"/],
  ['history.maxBytes', { history: { maxBytes: 5 } }, />= 65536.*got 5/],
  ['history.slotSeconds', { history: { slotSeconds: Number.NaN } }, /<= 60.*got NaN/],
  ['history', { history: 'long' }, /got "long"/],
  ['registry', { registry: 3 }, /an object instance, got 3/],
  ['maxSerie', { maxSerie: 3 }, /is unknown; allowed: .*maxSeries/],
  ['defaultLabels', { defaultLabels: { __own: 'x' } }, /"__own"/]
]

for (const [i, [name, options, message]] of REFUSED.entries()) {
  t.test(`a bad ${name} is refused, with what was given and what is allowed (${i})`, async (t) => {
    const app = Fastify()
    const error: unknown = await app.register(metrics, options).then(
      () => undefined,
      (reason: unknown) => reason
    )
    t.match(error, { code: 'VITALS_OPTION_INVALID', option: name, message })
    t.match(error, { message: `@fastify-vitals/metrics: option "${name}"` })
    await app.close().catch(() => {})
  })
}

t.test('the given options are not changed, nor do later changes reach us', async (t) => {
  const options = {
    durationBuckets: [0.1, 1],
    defaultLabels: { service: 'shop' },
    history: { slotSeconds: 1 }
  }
  const copy = structuredClone(options)
  const { vitals } = await appWith(t, options)
  t.same(options, copy)
  options.durationBuckets.push(0.5)
  t.same(vitals.durationBuckets, [0.1, 1])
  t.notOk(Object.isFrozen(options) || Object.isFrozen(options.durationBuckets))
})

t.test('frozen options do as well as others', async (t) => {
  const history = Object.freeze({ slotSeconds: 1 })
  const durationBuckets = Object.freeze([1, 2])
  const { vitals } = await appWith(t, Object.freeze({ history, durationBuckets }))
  t.same(vitals.durationBuckets, [1, 2])
})

t.test("a metric of the user's registry that is called like ours is told at once", async (t) => {
  for (const name of ['vitals_series', 'process_uptime_seconds', 'nodejs_gc_pause_seconds']) {
    const registry = new Registry()
    new Counter({ name, help: 'mine', registers: [registry] })
    const app = Fastify()
    await t.rejects(async () => await app.register(metrics, { registry: asProm(registry) }), {
      code: 'VITALS_DECLARATION_INVALID',
      message: `${name} is already in the registry`
    })
    await app.close().catch(() => {})
  }
})

t.test('a registration that failed leaves nothing of ours in the registry', async (t) => {
  const registry = new Registry()
  new Counter({ name: 'process_uptime_seconds', help: 'mine', registers: [registry] })
  const app = Fastify()
  await t.rejects(async () => await app.register(metrics, { registry: asProm(registry) }))
  await app.close().catch(() => {})
  t.equal(registry.getMetricsAsArray().length, 1)
})

t.test("prom-client's default metrics and ours go together in one registry", async (t) => {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const app = await appWith(t, { registry: asProm(registry) })
  const exposition = await text(app.vitals.scrape().body)
  t.match(exposition, /^process_cpu_seconds_total /m)
  t.match(exposition, /^process_cpu_usage_ratio /m)
  const types = exposition.match(/^# TYPE \S+/gm)!
  t.equal(new Set(types).size, types.length, 'no name is there twice')
})

t.test('of two apps with one registry the second is refused while the first lives', async (t) => {
  const registry = asProm(new Registry())
  const first = Fastify()
  await first.register(metrics, { registry })
  const second = Fastify()
  await t.rejects(
    async () => await second.register(metrics, { registry }),
    /already in the registry/
  )
  await second.close().catch(() => {})
  t.match(await registry.metrics(), 'vitals_history_bytes', "the first one's metrics are there")
  await first.close()
})

t.test("closing leaves the user's own metrics in the registry", async (t) => {
  const registry = new Registry()
  const mine = new Counter({ name: 'mine_total', help: 'h', registers: [registry] })
  const app = Fastify()
  await app.register(metrics, { registry: asProm(registry) })
  app.vitals.counter({ name: 'ours_total', help: 'h' })
  await app.close()
  t.same(registry.getMetricsAsArray().length, 1)
  t.equal(registry.getSingleMetric('mine_total'), mine)
})

t.test('a measure whose name is taken never throws where work is measured', async (t) => {
  const { vitals } = await appWith(t)
  vitals.counter({ name: 'measure_job_duration_seconds', help: 'h' })
  t.doesNotThrow(() => vitals.startMeasure('job')())
  t.equal(await vitals.trackAsyncOperation('job', async () => 42), 42)
})

t.test('a measure used with other labels than at first counts all the same', async (t) => {
  const { vitals } = await appWith(t)
  vitals.startMeasure('job', { shop: 'a' })()
  vitals.startMeasure('job', { colour: 'red' })()
  vitals.startMeasure('job')()
  const series = vitals.snapshot().measure_job_duration_seconds!
  t.equal(
    series.reduce((sum, { value }) => sum + value, 0),
    3
  )
  t.same(
    series.map(({ labels }) => labels.shop),
    ['a', '']
  )
})

t.test('what a tracked operation throws at once is counted and thrown on', async (t) => {
  const { vitals } = await appWith(t)
  const error = new Error('no')
  const operation = (): Promise<never> => {
    throw error
  }
  await t.rejects(vitals.trackAsyncOperation('job', operation, { shop: 'a' }), error)
  t.match(vitals.snapshot().measure_job_duration_seconds, [
    { labels: { outcome: 'error', shop: 'a' }, value: 1 }
  ])
})

t.test('a reset tells all who asked, though one of them throws', async (t) => {
  const { vitals } = await appWith(t)
  const counter = vitals.counter({ name: 'c_total', help: 'h' }).with()
  const gauge = vitals.gauge({ name: 'g', help: 'h' }).with()
  counter.add(3)
  gauge.set(4)
  const told: string[] = []
  vitals.onReset(() => {
    throw new Error('no')
  })
  vitals.onReset(() => void told.push('second'))
  vitals.actions.get('reset')!.run()
  t.same(told, ['second'])
  t.same([counter.value, gauge.value], [0, 4], 'a gauge tells what is so, not what was counted')
  counter.add(2)
  t.equal(vitals.history.window(60).counter('c_total'), 2)
})

t.test('the end of every slot is told, off the hot path, until the app is closed', async (t) => {
  const app = Fastify()
  await app.register(metrics, { history: { slotSeconds: 0.05 } })
  let slots = 0
  app.vitals.onSlot(() => {
    throw new Error('no')
  })
  app.vitals.onSlot(() => void slots++)
  await eventually(() => slots >= 2)
  await app.close()
  const before = slots
  await wait(150)
  t.equal(slots, before)
})

t.test('the cardinality view has no offender where no metric has labels', async (t) => {
  const { vitals } = await appWith(t, { runtimeMetrics: false })
  const view = vitals.views.get('cardinality')!
  t.match(view.read(), { refused_total: 0, dropped_total: 0, worst: null })
  t.ok(Value.Check(view.schema, view.read()))
  vitals
    .counter({ name: 'c_total', help: 'h', labelNames: ['k'] })
    .with({ k: 'x' })
    .add()
  const worst = { metric: 'c_total', label: 'k', distinct_values: 1, example: 'x' }
  t.match(view.read(), { worst })
  t.ok(Value.Check(view.schema, view.read()))
})

function asProm(registry: Registry): PromRegistry {
  return registry
}

t.test(
  'hooks of plugins come in the order of their registration, before those of a route',
  async (t) => {
    const app = Fastify()
    t.teardown(() => app.close())
    const seen: string[] = []
    const hookOf = (name: string) => (_request: unknown, _reply: unknown, done: () => void) => {
      seen.push(name)
      done()
    }
    for (const name of ['first', 'second']) {
      const hooks = new RouteHooks('onRequest')
      app.addHook('onRoute', (route) =>
        hooks.put(route, hookOf(`${name} of ${String(route.method)}`))
      )
    }
    app.get('/', { onRequest: [hookOf('own')] }, async () => 'x')
    await app.inject('/')
    await app.inject({ method: 'HEAD', url: '/' })
    t.same(seen, ['first of GET', 'second of GET', 'own', 'first of HEAD', 'second of HEAD', 'own'])
  }
)
