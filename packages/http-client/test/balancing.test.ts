import fc from 'fast-check'
import t from 'tap'
import { Balancer } from '../src/policies/balancer.ts'
import { OutlierEjection } from '../src/policies/outlier-ejection.ts'

function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 4294967296
  }
}

t.test('a balancer', async (t) => {
  const all = (): boolean => true

  t.test('takes only origins that are usable, and any of them', async () => {
    const usable = fc.array(fc.boolean(), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(usable, fc.integer(), (isUsable, seed) => {
        const balancer = new Balancer(isUsable, seeded(seed))
        const wanted = new Set(isUsable.flatMap((is, index) => (is ? [index] : [])))
        const picked = new Set<number>()
        for (let call = 0; call < 500; call++)
          picked.add(balancer.pick((index) => isUsable[index]!))
        if (wanted.size === 0) return picked.size === 1 && picked.has(-1)
        return picked.size === wanted.size && [...picked].every((index) => wanted.has(index))
      })
    )
  })

  t.test('never takes the one that is busiest', async () => {
    const loads = fc.uniqueArray(fc.integer({ min: 0, max: 20 }), { minLength: 2, maxLength: 6 })
    fc.assert(
      fc.property(loads, fc.integer(), (busy, seed) => {
        const balancer = new Balancer(busy, seeded(seed))
        busy.forEach((calls, index) => {
          for (let call = 0; call < calls; call++) balancer.begin(index)
        })
        const busiest = busy.indexOf(Math.max(...busy))
        return Array.from({ length: 100 }, () => balancer.pick(all)).every((at) => at !== busiest)
      })
    )
  })

  t.test('spreads calls evenly over equals', async (t) => {
    const balancer = new Balancer(['a', 'b', 'c', 'd', 'e'], seeded(1))
    for (let call = 0; call < 1000; call++) balancer.begin(balancer.pick(all))
    for (let index = 0; index < 5; index++) t.ok(Math.abs(balancer.outstanding(index) - 200) <= 4)
  })

  t.test('sends little to an origin that is slow', async (t) => {
    const balancer = new Balancer(['quick', 'quick', 'slow'], seeded(2))
    const toSlow: number[] = []
    let calls = 0
    for (let step = 0; step < 1000; step++) {
      const index = balancer.pick(all)
      balancer.begin(index)
      if (index === 2) calls++
      else balancer.end(index)
      if (index === 2) toSlow.push(step)
      if (toSlow[0] !== undefined && step - toSlow[0] >= 50) {
        toSlow.shift()
        balancer.end(2)
      }
    }
    t.ok(calls < 50, `${calls} of 1000`)
    t.ok(calls > 5, `${calls} of 1000`)
  })

  t.test('takes another than the one to be avoided, where there is another', async (t) => {
    const balancer = new Balancer(['a', 'b'], seeded(3))
    for (let call = 0; call < 20; call++) t.equal(balancer.pick(all, 0), 1)
    t.equal(
      balancer.pick((index) => index === 0, 0),
      0
    )
    t.equal(
      balancer.pick(() => false, 0),
      -1
    )
    t.equal(new Balancer<string>([]).pick(all), -1)
    t.equal(new Balancer(['a']).pick(all, 7), 0)
  })

  t.test('counts what is under way, and no less than nothing', async (t) => {
    const balancer = new Balancer(['a', 'b'])
    balancer.begin(0)
    balancer.begin(0)
    balancer.end(0)
    balancer.end(1)
    t.same([balancer.outstanding(0), balancer.outstanding(1)], [1, 0])
    t.equal(balancer.outstanding(9), 0)
  })
})

t.test('outlier ejection', async (t) => {
  const options = {
    origins: 4,
    consecutiveFailures: 3,
    baseEjectionMs: 1000,
    maxEjectionMs: 2500,
    maxEjectedShare: 0.5
  }
  const fail = (outliers: OutlierEjection, index: number, nowMs: number, times = 3): boolean =>
    Array.from({ length: times }, () => outliers.record(index, true, nowMs)).some(Boolean)

  t.test(
    'takes an origin out after so many failures in a row, until its time is over',
    async (t) => {
      const outliers = new OutlierEjection(options)
      t.notOk(fail(outliers, 1, 10, 2))
      t.notOk(outliers.isEjected(1, 10))
      t.ok(outliers.record(1, true, 10))
      t.ok(outliers.isEjected(1, 10))
      t.ok(outliers.isEjected(1, 1009))
      t.notOk(outliers.isEjected(1, 1010))
      t.notOk(outliers.isEjected(0, 10), 'the others stay')
    }
  )

  t.test('a success in between starts the count anew', async (t) => {
    const outliers = new OutlierEjection(options)
    fail(outliers, 0, 0, 2)
    outliers.record(0, false, 0)
    t.notOk(fail(outliers, 0, 0, 2))
    t.ok(outliers.record(0, true, 0))
  })

  t.test('each time it stays out longer, up to a maximum', async (t) => {
    const outliers = new OutlierEjection(options)
    let nowMs = 0
    const lengths = Array.from({ length: 4 }, () => {
      fail(outliers, 0, nowMs)
      const lengthMs = outliers.ejectedUntilMs(0) - nowMs
      nowMs += lengthMs
      return lengthMs
    })
    t.same(lengths, [1000, 2000, 2500, 2500])
  })

  t.test('time that it stays in is forgiven', async (t) => {
    const outliers = new OutlierEjection(options)
    fail(outliers, 0, 0)
    fail(outliers, 0, 1000)
    t.equal(outliers.ejectedUntilMs(0), 3000)
    fail(outliers, 0, 3000 + 1000)
    t.equal(outliers.ejectedUntilMs(0), 4000 + 2000)
    fail(outliers, 0, 6000 + 60_000)
    t.equal(outliers.ejectedUntilMs(0), 66_000 + 1000)
  })

  t.test('results of calls that were under way when it was taken out change nothing', async (t) => {
    const outliers = new OutlierEjection(options)
    fail(outliers, 0, 0)
    t.notOk(fail(outliers, 0, 500, 10))
    outliers.record(0, false, 500)
    t.equal(outliers.ejectedUntilMs(0), 1000)
    t.notOk(fail(outliers, 0, 1000, 2), 'it came back with a clean slate')
  })

  t.test('one that may not be taken out yet is, with its next failure once it may', async (t) => {
    const outliers = new OutlierEjection(options)
    t.ok(fail(outliers, 0, 0))
    t.ok(fail(outliers, 1, 0))
    t.notOk(fail(outliers, 2, 0), 'half of them are out')
    t.ok(outliers.record(2, true, 1000))
  })

  t.test('a single origin, and the last one, are never taken out', async (t) => {
    t.notOk(fail(new OutlierEjection({ ...options, origins: 1, maxEjectedShare: 1 }), 0, 0, 10))
    const two = new OutlierEjection({ ...options, origins: 2, maxEjectedShare: 1 })
    t.ok(fail(two, 0, 0))
    t.notOk(fail(two, 1, 0, 10))
    t.notOk(fail(new OutlierEjection({ ...options, origins: 0 }), 0, 0))
  })

  t.test('whatever happens, no more than the share are out, and all come back', async () => {
    const result = fc.record({
      index: fc.integer({ min: 0, max: 9 }),
      isFailure: fc.boolean(),
      pauseMs: fc.integer({ min: 0, max: 400 })
    })
    const share = fc.double({ min: 0, max: 1, noNaN: true })
    const size = fc.integer({ min: 1, max: 8 })
    const bounded = fc.property(
      fc.array(result, { maxLength: 200, size: 'max' }),
      share,
      size,
      (results, s, n) => {
        const outliers = new OutlierEjection({ ...options, origins: n, maxEjectedShare: s })
        let nowMs = 0
        for (const { index, isFailure, pauseMs } of results) {
          nowMs += pauseMs
          const before = outliers.ejected(nowMs)
          const ejected = outliers.record(index, isFailure, nowMs)
          const out = Array.from({ length: n }, (_, at) => outliers.isEjected(at, nowMs))
          const count = out.filter(Boolean).length
          if (count > n * s || count >= n || count !== before + Number(ejected)) return false
          if (count !== outliers.ejected(nowMs)) return false
        }
        return outliers.ejected(nowMs + options.maxEjectionMs) === 0
      }
    )
    fc.assert(bounded, { numRuns: 500 })
  })
})
