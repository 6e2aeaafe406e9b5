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
    clock.advance(1001)
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
