import { pluginProblems } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { Counter, Registry } from 'prom-client'
import t from 'tap'
import type { Test } from 'tap'
import { Value } from 'typebox/value'
import plugin, { ensureVitals, metrics } from '../src/index.ts'
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
