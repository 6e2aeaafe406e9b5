import t from 'tap'
import { BoundedLabel } from '../src/bounded-label.ts'
import { CounterFamily } from '../src/counter.ts'
import { FrequentItems } from '../src/frequent-items.ts'
import { GaugeFamily } from '../src/gauge.ts'
import { HistogramFamily } from '../src/histogram.ts'
import { PageSlab } from '../src/page-slab.ts'

const limits = (maxSeries = 100) => {
  let next = 1
  return { maxSeries, allocateId: () => next++, releaseId: () => {} }
}
const counters = (labelNames: string[], maxSeries?: number): CounterFamily =>
  new CounterFamily({ name: 'visits_total', help: 'h', labelNames }, limits(maxSeries))

t.test('the same labels are the same series', async (t) => {
  const family = counters(['a', 'b'])
  t.equal(family.with({ a: 'x', b: 'y' }), family.with({ b: 'y', a: 'x' }))
})

t.test('labels whose joined text would be equal are different series', async (t) => {
  const family = counters(['a', 'b'])
  t.not(family.with({ a: 'x,b:y', b: '' }), family.with({ a: 'x', b: 'y' }))
})

t.test('changing a label object afterwards changes no series', async (t) => {
  const family = counters(['route'])
  const labels = { route: '/a' }
  const series = family.with(labels)
  labels.route = '/b'
  t.same(series.values, ['/a'])
})

t.test('a missing or undeclared label is refused, naming what the metric takes', async (t) => {
  const family = counters(['route'])
  t.throws(() => family.with({}), /visits_total takes the labels \{route\}, got \{\}/)
  t.throws(() => family.with({ route: 'a', extra: 'b' }), /got \{route, extra\}/)
})

t.test('names that Prometheus would refuse are refused', async (t) => {
  for (const name of ['1st', 'a-b', '']) {
    t.throws(() => new CounterFamily({ name, help: 'h' }, limits()), {
      code: 'VITALS_DECLARATION_INVALID'
    })
  }
  for (const label of ['__x', 'le', 'a-b']) t.throws(() => counters([label]), /label name/)
  t.throws(() => counters(['a', 'a']), /repeat/)
})

t.test('a full metric counts refusals and puts the rest into one series', async (t) => {
  const family = counters(['key'], 3)
  for (let i = 0; i < 10; i++) family.with({ key: `k${i}` }).add()
  t.equal(family.size, 4)
  t.equal(family.refused, 7)
  t.equal(family.with({ key: 'another' }).value, 7)
  t.same(family.with({ key: 'another' }).values, ['_OTHER'])
})

t.test('a million made-up keys leave no more than the bound', async (t) => {
  const family = counters(['key'], 50)
  for (let i = 0; i < 1e6; i++) family.with({ key: `k${i}` }).add()
  t.equal(family.size, 51)
})

t.test(
  'a series that stands still is dropped, and comes back from zero when written',
  async (t) => {
    const family = counters(['key'])
    const idle = family.with({ key: 'idle' })
    const busy = family.with({ key: 'busy' })
    idle.add(5)
    for (let nowMs = 0; nowMs <= 3000; nowMs += 1000) {
      busy.add()
      family.dropIdle(nowMs, 2000)
    }
    t.same([...family.series], [busy])
    t.equal(family.droppedCount, 1)
    idle.add(2)
    t.equal(idle.value, 2)
    t.ok([...family.series].includes(idle))
    t.equal(family.with({ key: 'idle' }), idle)
  }
)

t.test(
  'a histogram series that was dropped gives its pages back and can be written on',
  async (t) => {
    const family = new HistogramFamily(
      { name: 'd', help: 'h', labelNames: ['k'] },
      limits(),
      { push: () => {} },
      new PageSlab()
    )
    const series = family.with({ k: 'a' })
    series.record(1)
    family.drop(series)
    t.equal(family.size, 0)
    series.record(0.5)
    t.equal(family.size, 1)
    t.equal(series.latency.count, 1)
  }
)

t.test('a gauge is never dropped for standing still, and follows what it collects', async (t) => {
  const plain = new GaugeFamily({ name: 'g', help: 'h' }, limits())
  plain.with().set(3)
  plain.dropIdle()
  t.equal(plain.with().value, 3)
  let present = ['a', 'b']
  const collected = new GaugeFamily(
    {
      name: 'c',
      help: 'h',
      labelNames: ['k'],
      collect: () => present.map((k) => [{ k }, 1] as const)
    },
    limits()
  )
  collected.refresh()
  present = ['b']
  collected.refresh()
  t.same(
    [...collected.series].map(({ values }) => values),
    [['b']]
  )
})

t.test('a counter ignores what is negative or not a number', async (t) => {
  const counter = counters([]).with()
  for (const amount of [2, -1, Number.NaN]) counter.add(amount)
  t.equal(counter.value, 2)
})

t.test('the most frequent keys of a long stream are found in bounded memory', async (t) => {
  const items = new FrequentItems(64)
  for (let i = 0; i < 100_000; i++) {
    items.add(`noise ${i}`)
    if (i % 20 === 0) items.add('heavy', 2)
    if (i % 50 === 0) items.add('lighter', 2)
  }
  t.ok(items.size <= 64)
  const [first, second] = items.top(2)
  t.same([first?.key, second?.key], ['heavy', 'lighter'])
  t.ok(first!.count <= 10_000 && first!.count + items.error >= 10_000)
})

t.test('the busiest values get the places at the next election', async (t) => {
  const label = new BoundedLabel(1)
  t.equal(label.of('first'), 'first')
  for (let i = 0; i < 5; i++) t.equal(label.of('busy'), '_OTHER')
  t.same(label.reelect(), ['first'])
  t.equal(label.of('busy'), 'busy')
  t.equal(label.of('x'.repeat(1000)), '_OTHER')
})
