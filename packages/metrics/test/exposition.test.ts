import { text } from 'node:stream/consumers'
import { buffer } from 'node:stream/consumers'
import { promtoolCheck, skipOrFail } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import { Counter, Gauge, Histogram, Registry, Summary } from 'prom-client'
import t from 'tap'
import type { Test } from 'tap'
import { negotiateFormat } from '../src/exposition/negotiate.ts'
import { metrics } from '../src/index.ts'
import type { MetricsOptions, PromRegistry } from '../src/index.ts'
import { MIN_EXPONENT, bucketOf } from '../src/log-scale.ts'

async function appWith(t: Test, options: MetricsOptions = {}) {
  const app = Fastify()
  await app.register(metrics, { runtimeMetrics: false, ...options })
  t.teardown(async () => {
    await app.close()
  })
  return app
}

/** Samples of a text exposition: everything before the value, and the value. */
function parsed(exposition: string): Map<string, number> {
  const lines = exposition.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1).replace('Inf', 'Infinity'))]
    })
  )
}

const asProm = (registry: Registry): PromRegistry => registry

t.test('Accept decides the format; what is not understood gets plain text', async (t) => {
  const protobuf =
    'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited'
  t.equal(negotiateFormat(undefined), 'text')
  t.equal(negotiateFormat('garbage;;;q=,,'), 'text')
  t.equal(negotiateFormat('application/openmetrics-text;version=1.0.0'), 'openmetrics')
  t.equal(negotiateFormat(`${protobuf};q=0.9,text/plain;q=0.5`), 'protobuf')
  t.equal(negotiateFormat('application/openmetrics-text;q=0.2,text/plain;q=0.9'), 'text')
  t.equal(negotiateFormat('application/openmetrics-text;q=0,text/plain;q=0.1'), 'text')
  t.equal(negotiateFormat('application/vnd.google.protobuf'), 'text', 'another encoding of it')
})

t.test('the text exposition says exactly what was recorded', async (t) => {
  const { vitals } = await appWith(t)
  const family = vitals.histogram({
    name: 'wait_seconds',
    help: 'h',
    labelNames: ['route'],
    buckets: [0.1, 1]
  })
  for (const seconds of [0.05, 0.1, 0.5, 20]) family.with({ route: '/a' }).record(seconds)
  vitals.counter({ name: 'visits_total', help: 'h' }).with().add(1.5)
  const samples = parsed(await text(vitals.scrape().body))
  t.equal(samples.get('wait_seconds_bucket{route="/a",le="0.1"}'), 2)
  t.equal(samples.get('wait_seconds_bucket{route="/a",le="1"}'), 3)
  t.equal(samples.get('wait_seconds_bucket{route="/a",le="+Inf"}'), 4)
  t.equal(samples.get('wait_seconds_sum{route="/a"}'), 20.65)
  t.equal(samples.get('wait_seconds_count{route="/a"}'), 4)
  t.equal(samples.get('visits_total'), 1.5)
})

t.test('quotes, backslashes, line ends and other scripts in labels come out whole', async (t) => {
  const { vitals } = await appWith(t)
  const value = 'a"b\\c\nd/日本/:id'
  vitals
    .histogram({ name: 'h_seconds', help: 'line\nend \\', labelNames: ['route'] })
    .with({ route: value })
    .record(1)
  const exposition = await text(vitals.scrape().body)
  t.match(exposition, 'h_seconds_count{route="a\\"b\\\\c\\nd/日本/:id"} 1')
  t.match(exposition, '# HELP h_seconds line\\nend \\\\')
})

t.test('prom-client shows our metrics, with the same figures as we do', async (t) => {
  const registry = new Registry()
  const { vitals } = await appWith(t, { registry: asProm(registry) })
  vitals
    .histogram({ name: 'h_seconds', help: 'h', labelNames: ['a'] })
    .with({ a: 'x' })
    .record(0.3)
  vitals.counter({ name: 'c_total', help: 'h' }).with().add(7)
  const ours = parsed(await text(vitals.scrape().body))
  const theirs = parsed(await registry.metrics())
  const sorted = (label: string): string =>
    label.replace(/\{(.*)\}/, (_, labels: string) => `{${labels.split(',').toSorted().join()}}`)
  const named = new Map([...theirs].map(([label, value]) => [sorted(label), value]))
  for (const [label, value] of ours) {
    if (!label.startsWith('vitals_')) t.equal(named.get(sorted(label)), value, label)
  }
})

t.test("the user's own prom-client metrics are exposed too, in every format", async (t) => {
  const registry = new Registry()
  const registers = [registry]
  new Counter({ name: 'own_total', help: 'h', labelNames: ['k'], registers }).inc({ k: 'a' }, 3)
  new Gauge({ name: 'own_level', help: 'h', registers }).set(-2.5)
  new Histogram({ name: 'own_seconds', help: 'h', buckets: [1, 2], registers }).observe(1.5)
  new Summary({ name: 'own_summary', help: 'h', percentiles: [0.5], registers }).observe(4)
  const { vitals } = await appWith(t, { registry: asProm(registry) })
  const samples = parsed(await text(vitals.scrape().body))
  t.equal(samples.get('own_total{k="a"}'), 3)
  t.equal(samples.get('own_level'), -2.5)
  t.equal(samples.get('own_seconds_bucket{le="2"}'), 1)
  t.equal(samples.get('own_summary{quantile="0.5"}'), 4)
  const families = decodeFamilies(await buffer(vitals.scrape(PROTOBUF).body))
  const histogram = families
    .find(({ name }) => name === 'own_seconds')!
    .metrics[0]!.get(7)![0] as Buffer
  t.equal(fields(histogram).get(1)![0], 1)
  t.equal(fields(histogram).get(3)!.length, 3, 'its three buckets')
})

t.test('a metric that throws is left out, and the others are shown', async (t) => {
  const registry = new Registry()
  new Gauge({
    name: 'broken',
    help: 'h',
    registers: [registry],
    collect() {
      throw new Error('no')
    }
  })
  const { vitals } = await appWith(t, { registry: asProm(registry) })
  vitals.gauge({
    name: 'broken_too',
    help: 'h',
    collect: () => {
      throw new Error('no')
    }
  })
  vitals.counter({ name: 'fine_total', help: 'h' }).with().add()
  const exposition = await text(vitals.scrape().body)
  t.match(exposition, 'fine_total 1')
  t.notMatch(exposition, /^broken/m)
})

t.test(
  'OpenMetrics names counters its own way, and the next text scrape is as before',
  async (t) => {
    const registry = new Registry()
    new Counter({ name: 'own_total', help: 'h', registers: [registry] }).inc()
    const { vitals } = await appWith(t, { registry: asProm(registry) })
    vitals.counter({ name: 'ours_total', help: 'h' }).with().add()
    const before = await text(vitals.scrape().body)
    const open = await text(vitals.scrape('application/openmetrics-text; version=1.0.0').body)
    t.match(open, '# TYPE own counter\nown_total 1')
    t.match(open, '# TYPE ours counter\nours_total 1')
    t.ok(open.endsWith('# EOF\n'))
    t.equal(await text(vitals.scrape().body), before)
    t.match(before, '# TYPE own_total counter')
  }
)

t.test('names follow OpenTelemetry, or both conventions, when asked to', async (t) => {
  for (const naming of ['opentelemetry', 'both'] as const) {
    const { vitals } = await appWith(t, { naming })
    const opentelemetry = {
      name: 'http_server_request_duration_seconds',
      labels: { route: 'http_route' }
    }
    vitals
      .histogram({
        name: 'http_request_duration_seconds',
        help: 'h',
        labelNames: ['route'],
        opentelemetry
      })
      .with({ route: '/a' })
      .record(1)
    const exposition = await text(vitals.scrape().body)
    t.match(exposition, 'http_server_request_duration_seconds_count{http_route="/a"} 1')
    const own = 'http_request_duration_seconds_count{route="/a"} 1'
    t.equal(exposition.includes(own), naming === 'both')
  }
})

t.test('default labels are on every sample', async (t) => {
  const { vitals } = await appWith(t, { defaultLabels: { service: 'shop' } })
  vitals.counter({ name: 'a_total', help: 'h' }).with().add()
  vitals
    .histogram({ name: 'b_seconds', help: 'h', labelNames: ['k'] })
    .with({ k: 'x' })
    .record(1)
  const samples = parsed(await text(vitals.scrape().body))
  t.equal(samples.get('a_total{service="shop"}'), 1)
  t.equal(samples.get('b_seconds_count{k="x",service="shop"}'), 1)
  t.ok([...samples.keys()].every((label) => label.includes('service="shop"')))
})

t.test('promtool finds nothing wrong with the exposition', async (t) => {
  const app = await appWith(t, { runtimeMetrics: true })
  app.vitals
    .histogram({ name: 'h_seconds', help: 'h', labelNames: ['a'] })
    .with({ a: 'x' })
    .record(0.3)
  app.vitals.startMeasure('some work')()
  await app.ready()
  const checked = promtoolCheck(await text(app.vitals.scrape().body))
  if (checked === undefined) return skipOrFail(t, 'promtool is not installed')
  t.same(checked, { code: 0, output: '' })
})

const PROTOBUF =
  'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited'

t.test('native histograms hold exactly the buckets that were recorded', async (t) => {
  const { vitals } = await appWith(t, { nativeHistogramSchema: 6 })
  const values = [0, 0.0101, 0.0102, 0.25, 0.25, 3.7, 100]
  const family = vitals.histogram({ name: 'h_seconds', help: 'h', labelNames: ['a'] })
  for (const value of values) family.with({ a: 'x' }).record(value)
  const families = decodeFamilies(await buffer(vitals.scrape(PROTOBUF).body))
  const [metric] = families.find(({ name }) => name === 'h_seconds')!.metrics
  const histogram = fields(metric!.get(7)![0] as Buffer)
  t.equal(histogram.get(1)![0], values.length)
  t.equal(zigzag(histogram.get(5)![0] as number), 6)
  t.equal(histogram.get(7)![0], 1, 'the zero')
  const expected = new Map<number, number>()
  for (const value of values.slice(1)) {
    const index = MIN_EXPONENT * 64 + bucketOf(value) + 1
    expected.set(index, (expected.get(index) ?? 0) + 1)
  }
  t.same(nativeCounts(histogram), expected)
})

t.test('a coarser native histogram sums neighbouring buckets', async (t) => {
  const { vitals } = await appWith(t, { nativeHistogramSchema: 0 })
  const family = vitals.histogram({ name: 'h_seconds', help: 'h' })
  for (const value of [0.26, 0.3, 0.5, 0.51, 1, 1.01]) family.with().record(value)
  const families = decodeFamilies(await buffer(vitals.scrape(PROTOBUF).body))
  const [metric] = families.find(({ name }) => name === 'h_seconds')!.metrics
  // schema 0: bucket i ends at 2^i
  t.same(
    nativeCounts(fields(metric!.get(7)![0] as Buffer)),
    new Map([
      [-1, 3],
      [0, 2],
      [1, 1]
    ])
  )
})

type Fields = Map<number, (number | Buffer)[]>

/** Just enough of Protocol Buffers to read an exposition back. */
function fields(message: Buffer): Fields {
  const found: Fields = new Map()
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++]!
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }
  while (at < message.length) {
    const tag = varint()
    const values = found.get(tag >> 3) ?? []
    found.set(tag >> 3, values)
    if ((tag & 7) === 0) values.push(varint())
    else if ((tag & 7) === 1) {
      values.push(message.readDoubleLE(at))
      at += 8
    } else {
      const length = varint()
      values.push(message.subarray(at, at + length))
      at += length
    }
  }
  return found
}

function decodeFamilies(stream: Buffer): { name: string; metrics: Fields[] }[] {
  // a delimited stream reads like a message whose fields all have the number we give them
  const families: { name: string; metrics: Fields[] }[] = []
  let at = 0
  while (at < stream.length) {
    let length = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = stream[at++]!
      length += (byte & 127) * scale
      if (byte < 128) break
    }
    const family = fields(stream.subarray(at, at + length))
    families.push({
      name: String(family.get(1)![0]),
      metrics: (family.get(4) ?? []).map((metric) => fields(metric as Buffer))
    })
    at += length
  }
  return families
}

function zigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}

function nativeCounts(histogram: Fields): Map<number, number> {
  const deltas = (histogram.get(13) as number[]).map(zigzag)
  const counts = new Map<number, number>()
  let index = 0
  let count = 0
  for (const span of histogram.get(12) as Buffer[]) {
    const parts = fields(span)
    index += zigzag(parts.get(1)![0] as number)
    for (let i = 0; i < (parts.get(2)![0] as number); i++) {
      count += deltas.shift()!
      counts.set(index++, count)
    }
  }
  return counts
}
