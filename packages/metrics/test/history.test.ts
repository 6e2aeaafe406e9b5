import fc from 'fast-check'
import { ManualClock } from '@fastify-vitals/testing'
import t from 'tap'
import { CounterFamily } from '../src/counter.ts'
import type { Family, Series } from '../src/family.ts'
import { GaugeFamily } from '../src/gauge.ts'
import { HistogramFamily } from '../src/histogram.ts'
import { History } from '../src/history/history.ts'
import { SeriesIds } from '../src/history/series-ids.ts'
import { PageSlab } from '../src/page-slab.ts'

const HOUR_MS = 3_600_000

function setUp(
  options: Partial<{ slotSeconds: number; retentionHours: number; maxBytes: number }> = {}
) {
  const clock = new ManualClock()
  const ids = new SeriesIds(HOUR_MS, clock.now)
  const limits = {
    maxSeries: 20_000,
    allocateId: () => ids.allocate(),
    releaseId: (id: number) => ids.release(id)
  }
  const families = new Map<string, Family<Series>>()
  const counters: CounterFamily[] = []
  const gauges: GaugeFamily[] = []
  const history = new History(
    { slotSeconds: 5, retentionHours: 24, maxBytes: 1e8, ...options },
    {
      family: (name) => families.get(name),
      counters: () => counters,
      gauges: () => gauges,
      now: clock.now
    }
  )
  const durations = new HistogramFamily(
    { name: 'duration', help: 'h', labelNames: ['route'] },
    limits,
    history.sink,
    new PageSlab()
  )
  const errors = new CounterFamily({ name: 'errors', help: 'h', labelNames: ['route'] }, limits)
  const level = new GaugeFamily({ name: 'level', help: 'h' }, limits)
  families.set('duration', durations).set('errors', errors).set('level', level)
  counters.push(errors)
  gauges.push(level)
  const slot = (): void => {
    clock.advance(5000)
    history.tick()
  }
  return { clock, history, durations, errors, level, slot }
}

t.test('a window shows what happened in it and nothing from before', async (t) => {
  const { history, durations, errors, slot } = setUp()
  const series = durations.with({ route: '/a' })
  for (let i = 0; i < 10; i++) series.record(1)
  errors.with({ route: '/a' }).add(3)
  slot()
  slot()
  for (let i = 0; i < 4; i++) series.record(0.1)
  errors.with({ route: '/a' }).add(2)
  slot()
  const window = history.window(5)
  t.equal(window.seconds, 5)
  t.equal(window.histogram('duration').count, 4)
  t.ok(Math.abs(window.histogram('duration').quantile(0.5)! - 0.1) < 0.001)
  t.equal(window.counter('errors'), 2)
  t.equal(history.window(60).histogram('duration', { route: '/a' }).count, 14)
  t.equal(history.window(60).counter('errors', { route: '/b' }), 0)
})

t.test('a window reaches up to this moment, before the slot has ended', async (t) => {
  const { history, durations, errors, clock } = setUp()
  durations.with({ route: '/a' }).record(0.2)
  errors.with({ route: '/a' }).add()
  clock.advance(1000)
  t.equal(history.window(10).histogram('duration').count, 1)
  t.equal(history.window(10).counter('errors'), 1)
})

t.test('the window over everything is everything that was recorded', async () => {
  const event = fc.record({
    route: fc.constantFrom('/a', '/b', '/c'),
    seconds: fc.double({ min: 1e-5, max: 100, noNaN: true }),
    endsSlot: fc.boolean()
  })
  fc.assert(
    fc.property(fc.array(event, { maxLength: 200 }), (events) => {
      const { history, durations, slot } = setUp()
      for (const { route, seconds, endsSlot } of events) {
        durations.with({ route }).record(seconds)
        if (endsSlot) slot()
      }
      return history.window(1e6).histogram('duration').count === events.length
    })
  )
})

t.test('a counter that was reset counts from zero and never backwards', async (t) => {
  const { history, errors, slot } = setUp()
  const counter = errors.with({ route: '/a' })
  counter.add(80)
  slot()
  errors.reset()
  history.clear()
  counter.add(90)
  slot()
  t.equal(history.window(5).counter('errors'), 90)
})

t.test('a gauge is kept with its last and its highest value', async (t) => {
  const { history, level, slot } = setUp()
  for (const value of [3, 9, 4]) {
    level.with().set(value)
    slot()
  }
  t.same(
    history
      .window(15)
      .gauges('level')
      .map(({ value }) => value),
    [{ last: 4, max: 9 }]
  )
})

t.test('after minutes the figures get coarser but none is lost', async (t) => {
  const { history, durations, slot } = setUp()
  const series = durations.with({ route: '/a' })
  for (let minute = 0; minute < 30; minute++) {
    for (let i = 0; i < 12; i++) {
      series.record(0.1)
      slot()
    }
  }
  const all = history.window(HOUR_MS).histogram('duration')
  t.equal(all.count, 360)
  t.ok(Math.abs(all.quantile(0.5)! - 0.1) / 0.1 <= 0.022)
  t.ok(history.series(1800).length < 100, 'old slots became minutes')
})

t.test('beyond its bytes, old times get coarser and the day is still covered', async (t) => {
  const maxBytes = 400_000
  const { clock, history, durations } = setUp({ slotSeconds: 60, maxBytes })
  const series = Array.from({ length: 1000 }, (_, i) => durations.with({ route: `/r${i}` }))
  for (let minute = 0; minute < 24 * 60; minute++) {
    for (const [i, each] of series.entries())
      if (i % 10 === minute % 10) each.record(0.01 + i / 1e5)
    clock.advance(60_000)
    history.tick()
  }
  t.ok(history.bytes <= maxBytes)
  t.ok(history.coveredSeconds >= 23 * 3600)
  t.equal(history.window(1e6).histogram('duration').count, 24 * 60 * 100)
})

t.test('figures older than the retention are forgotten', async (t) => {
  const { clock, history, durations } = setUp({ retentionHours: 1 })
  durations.with({ route: '/a' }).record(1)
  for (let minute = 0; minute < 120; minute++) {
    clock.advance(60_000)
    history.tick()
  }
  t.equal(history.window(1e6).histogram('duration').count, 0)
  t.ok(history.coveredSeconds <= 3700)
})

t.test(
  'a number of a dropped series serves another one only when nothing can mean the first',
  async (t) => {
    const clock = new ManualClock()
    const ids = new SeriesIds(1000, clock.now, 2)
    const first = ids.allocate()
    ids.allocate()
    t.equal(ids.allocate(), 0, 'none is left')
    ids.release(first)
    t.equal(ids.allocate(), 0, 'too early')
    clock.advance(2001)
    t.equal(ids.allocate(), first)
  }
)

t.test('many more records than the table holds are all kept', async (t) => {
  const { history, durations, slot } = setUp()
  for (let i = 0; i < 20_000; i++) {
    durations.with({ route: `/r${i % 500}` }).record(0.001 * 1.02 ** (i % 97))
  }
  slot()
  t.equal(history.window(60).histogram('duration').count, 20_000)
})

t.test('the window over everything holds every record in its bucket and every gain', async () => {
  const event = fc.record({
    route: fc.constantFrom('/a', '/b', '/c'),
    seconds: fc.double({ min: 1e-5, max: 100, noNaN: true }),
    errors: fc.nat(5),
    slots: fc.nat(2)
  })
  fc.assert(
    // at most 60 slots of 5 s, so that nothing is old enough to be told more coarsely
    fc.property(fc.array(event, { maxLength: 30 }), (events) => {
      const { history, durations, errors, slot } = setUp()
      for (const each of events) {
        durations.with({ route: each.route }).record(each.seconds)
        errors.with({ route: each.route }).add(each.errors)
        for (let i = 0; i < each.slots; i++) slot()
      }
      const all = history.window(1e6)
      return ['/a', '/b', '/c'].every((route) => {
        const labels = { route }
        const found = all.histogram('duration', labels)
        const exact = durations.with(labels).latency.snapshot()
        return (
          sameNumbers(found.indices, exact.indices) &&
          sameNumbers(found.counts, exact.counts) &&
          all.counter('errors', labels) === errors.with(labels).value
        )
      })
    })
  )
})

t.test('windows side by side add up to the window over both', async () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3), { minLength: 2, maxLength: 40 }), fc.nat(38), (gains, cut) => {
      const { clock, history, errors, slot } = setUp()
      for (const gain of gains) {
        errors.with({ route: '/a' }).add(gain)
        slot()
      }
      const [middle, end] = [(cut % gains.length) * 5000, clock.now()]
      const parts = [history.between(0, middle), history.between(middle, end)]
      const sum = parts.reduce((total, part) => total + part.counter('errors'), 0)
      return sum === history.between(0, end).counter('errors')
    })
  )
})

t.test('a counter that fell without anybody saying so counts from zero', async (t) => {
  const { history, errors, slot } = setUp()
  const counter = errors.with({ route: '/a' })
  counter.add(80)
  slot()
  errors.reset()
  counter.add(30)
  slot()
  t.equal(history.window(5).counter('errors'), 30)
  t.equal(history.window(60).counter('errors'), 110)
})

t.test('a counter that was dropped and written again shows all it gained', async (t) => {
  const { history, errors, slot } = setUp()
  const counter = errors.with({ route: '/a' })
  counter.add(1)
  slot()
  errors.drop(counter)
  slot()
  counter.add(1)
  slot()
  t.equal(history.window(5).counter('errors'), 1)
})

t.test('a new series shows nothing of the one that had its number before', async (t) => {
  const { clock, history, durations, slot } = setUp({ retentionHours: 1 })
  const old = durations.with({ route: '/old' })
  old.record(1)
  slot()
  durations.drop(old)
  while (clock.now() <= HOUR_MS + 5000) slot()
  durations.with({ route: '/new' })
  t.equal(history.window(1e6).histogram('duration', { route: '/new' }).count, 0)
})

t.test('a window between two moments holds the blocks in between only', async (t) => {
  const { history, errors, slot } = setUp()
  for (let i = 0; i < 10; i++) {
    errors.with({ route: '/a' }).add(10 ** i)
    slot()
  }
  const window = history.between(15_000, 25_000)
  t.equal(window.counter('errors'), 11_000)
  t.same([window.startMs, window.endMs], [15_000, 25_000])
})

t.test('the highest value of a gauge is known after its slots became minutes', async (t) => {
  const { history, level, slot } = setUp()
  for (let i = 0; i < 120; i++) {
    level.with().set(i === 7 ? 99 : 1)
    slot()
  }
  t.same(
    history
      .window(1e6)
      .gauges('level')
      .map(({ value }) => value),
    [{ last: 1, max: 99 }]
  )
})

t.test('every point of a series of windows holds what happened in its time', async (t) => {
  const { history, durations, slot } = setUp()
  const series = durations.with({ route: '/a' })
  for (let count = 1; count <= 5; count++) {
    for (let i = 0; i < count; i++) series.record(0.1)
    slot()
  }
  const points = history.series(15)
  t.same(
    points.map(({ startMs, endMs }) => [startMs, endMs]),
    [
      [10_000, 15_000],
      [15_000, 20_000],
      [20_000, 25_000]
    ]
  )
  t.same(
    points.map(({ window }) => window.histogram('duration').count),
    [3, 4, 5]
  )
})

t.test(
  'ten thousand series stay within the bytes, and the day is covered more coarsely',
  async (t) => {
    const maxBytes = 2_000_000
    const { clock, history, durations } = setUp({ maxBytes })
    const series = Array.from({ length: 10_000 }, (_, i) => durations.with({ route: `/r${i}` }))
    let mostBytes = 0
    for (let minute = 0; minute < 24 * 60; minute++) {
      for (let i = minute % 50; i < series.length; i += 50) series[i]!.record(0.01 + i / 1e5)
      clock.advance(60_000)
      history.tick()
      mostBytes = Math.max(mostBytes, history.bytes)
    }
    t.ok(mostBytes <= maxBytes, `${mostBytes} bytes`)
    t.ok(history.coveredSeconds >= 23 * 3600, `${history.coveredSeconds} s`)
    const points = history.series(1e6)
    t.ok(points.length < 24 * 60)
    const lengths = points.map(({ startMs, endMs }) => endMs - startMs)
    t.ok(lengths[0]! > lengths.at(-1)!, 'the oldest is longer than the newest')
    t.ok(
      points.every(({ startMs }, i) => i === 0 || startMs === points[i - 1]!.endMs),
      'without a gap'
    )
  }
)

t.test('where nothing can get coarser, the oldest is forgotten first', async (t) => {
  const maxBytes = 65_536
  const { history, durations, slot } = setUp({ maxBytes })
  const series = Array.from({ length: 2000 }, (_, i) => durations.with({ route: `/r${i}` }))
  for (let i = 0; i < 20; i++) {
    for (const each of series) each.record(0.1)
    slot()
  }
  t.ok(history.bytes <= maxBytes)
  const { count } = history.window(1e6).histogram('duration')
  t.ok(count >= 2000 && count < 40_000, `${count} records are left`)
  t.equal(history.window(5).histogram('duration').count, 2000, 'the newest are there')
})

t.test('cleared, it knows nothing of before and all of after', async (t) => {
  const { history, durations, errors, slot } = setUp()
  durations.with({ route: '/a' }).record(1)
  errors.with({ route: '/a' }).add(7)
  slot()
  durations.with({ route: '/a' }).record(1)
  errors.with({ route: '/a' }).add(7)
  history.clear()
  durations.with({ route: '/a' }).record(1)
  errors.with({ route: '/a' }).add(2)
  slot()
  const all = history.window(1e6)
  t.equal(all.histogram('duration').count, 1)
  t.equal(all.counter('errors'), 2)
})

t.test('a metric that nobody declared has an empty window', async (t) => {
  const window = setUp().history.window(60)
  t.equal(window.histogram('nope').quantile(0.5), undefined)
  t.equal(window.counter('nope'), 0)
  t.same(window.gauges('nope'), [])
})

t.test('a metric without a place in the history leaves nothing in it', async (t) => {
  const { history, slot } = setUp()
  const quiet = history.bytes
  slot()
  const family = new HistogramFamily(
    { name: 'unkept', help: 'h', history: false },
    { maxSeries: 1, allocateId: () => 1, releaseId: () => {} },
    history.sink,
    new PageSlab()
  )
  family.with().record(1)
  slot()
  t.equal(family.with().id, 0)
  t.equal(history.bytes - quiet, 600, 'two blocks without entries')
})

function sameNumbers(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return Array.from(a).join() === Array.from(b).join()
}
