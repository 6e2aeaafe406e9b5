import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import { BoundedLabel } from '../src/bounded-label.ts'
import { CounterFamily } from '../src/counter.ts'
import { FrequentItems } from '../src/frequent-items.ts'
import { GaugeFamily } from '../src/gauge.ts'
import { BucketHistogramFamily, HistogramFamily } from '../src/histogram.ts'
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

t.test('a number and its text are the same label value', async (t) => {
  const family = counters(['status'])
  t.equal(family.with({ status: 200 }), family.with({ status: '200' }))
})

t.test('series are apart exactly when their label values are', async () => {
  const word = fc.string({ maxLength: 3, unit: fc.constantFrom('a', ',', ':', '"', '{', '\0') })
  fc.assert(
    fc.property(fc.tuple(word, word), fc.tuple(word, word), ([a, b], [c, d]) => {
      const family = counters(['x', 'y'])
      const isSame = family.with({ x: a, y: b }) === family.with({ x: c, y: d })
      return isSame === (a === c && b === d)
    })
  )
})

t.test('a label called like a method of objects can be missing, too', async (t) => {
  t.throws(() => counters(['toString']).with({}), { code: 'VITALS_DECLARATION_INVALID' })
})

t.test('a family of any kind keeps to its bound', async (t) => {
  const options = { name: 'm', help: 'h', labelNames: ['key'] }
  const sink = { push: () => {} }
  const families = [
    new GaugeFamily(options, limits(3)),
    new HistogramFamily(options, limits(3), sink, new PageSlab()),
    new BucketHistogramFamily({ ...options, buckets: [1] }, limits(3))
  ]
  for (const family of families) {
    for (let i = 0; i < 10; i++) family.with({ key: `k${i}` })
    t.same([family.size, family.refused, family.lastRefused], [4, 7, ['k9']])
  }
})

t.test('memory stays flat over a million made-up keys', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const family = counters(['key'], 50)
  const use = (from: number, to: number): number => {
    for (let i = from; i < to; i++) family.with({ key: `key number ${i}` }).add()
    collect()
    return process.memoryUsage().heapUsed
  }
  const early = use(0, 10_000)
  const grownBytes = use(10_000, 1e6) - early
  t.ok(grownBytes < 2 ** 20, `grew by ${grownBytes} bytes`)
  t.equal(family.refused, 1e6 - 50)
})

t.test("the rest goes into the series that is called so already, where there's one", async (t) => {
  const family = counters(['key'], 2)
  family.with({ key: '_OTHER' }).add()
  family.with({ key: 'a' }).add()
  family.with({ key: 'b' }).add()
  t.same(labelsOf(family), [['_OTHER'], ['a']])
})

t.test('whoever held a dropped series and whoever asks for it anew write the same', async (t) => {
  const family = counters(['key'])
  const held = family.with({ key: 'a' })
  held.add(5)
  family.drop(held)
  family.with({ key: 'a' }).add(2)
  held.add(3)
  t.same(labelsOf(family), [['a']])
  t.equal(
    [...family.series].reduce((sum, { value }) => sum + value, 0),
    5
  )
})

t.test(
  'there is one series for the rest, also after it was dropped and written again',
  async (t) => {
    const family = counters(['key'], 1)
    family.with({ key: 'a' }).add()
    const rest = family.with({ key: 'b' })
    rest.add()
    family.drop(rest)
    rest.add()
    family.with({ key: 'c' }).add()
    t.same(labelsOf(family), [['a'], ['_OTHER']])
  }
)

t.test('a dropped series makes room for another one', async (t) => {
  const family = counters(['key'], 1)
  family.drop(family.with({ key: 'a' }))
  t.same(family.with({ key: 'b' }).values, ['b'])
  t.equal(family.refused, 0)
})

t.test('a dropped series gives its number back once', async (t) => {
  const released: number[] = []
  const family = new CounterFamily(
    { name: 'c', help: 'h' },
    { ...limits(), releaseId: (id) => void released.push(id) }
  )
  const series = family.with()
  family.drop(series)
  family.drop(series)
  t.same(released, [1])
  t.equal(series.id, 0)
})

t.test('no count of a key is too high, nor too low by more than the stated error', async () => {
  const keys = fc.array(fc.tuple(fc.nat(30), fc.integer({ min: 1, max: 20 })), { maxLength: 500 })
  fc.assert(
    fc.property(keys, fc.integer({ min: 2, max: 10 }), (stream, capacity) => {
      const items = new FrequentItems(capacity)
      const exact = new Map<string, number>()
      for (const [key, amount] of stream) {
        items.add(String(key), amount)
        exact.set(String(key), (exact.get(String(key)) ?? 0) + amount)
      }
      const held = new Map(items.top(capacity).map(({ key, count }) => [key, count]))
      const isBounded = [...exact].every(([key, count]) => {
        const lower = held.get(key) ?? 0
        return lower <= count && lower + items.error >= count
      })
      return isBounded && items.size <= capacity
    })
  )
})

t.test('cleared frequent items know no key and make no error', async (t) => {
  const items = new FrequentItems(2)
  for (let i = 0; i < 10; i++) items.add(`k${i}`)
  t.ok(items.error > 0)
  items.clear()
  t.same([items.size, items.error, items.top(5)], [0, 0, []])
})

t.test('between elections no more than the places become label values', async () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50)), fc.integer({ min: 1, max: 5 }), (values, places) => {
      const label = new BoundedLabel(places)
      const used = new Set(values.map((value) => label.of(String(value))))
      used.delete('_OTHER')
      return used.size <= places
    })
  )
})

t.test('a long value is cut, so that it takes the memory of a short one', async (t) => {
  t.equal(new BoundedLabel(1).of('x'.repeat(1000)), 'x'.repeat(128))
  t.same(counters(['a']).with({ a: 'x'.repeat(1000) }).values, ['x'.repeat(256)])
})

function labelsOf(family: CounterFamily): (readonly string[])[] {
  return [...family.series].map(({ values }) => values)
}
