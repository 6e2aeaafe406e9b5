import fc from 'fast-check'
import t from 'tap'
import { fullJitter, MAX_RETRY_AFTER_MS, retryAfterMs } from '../src/policies/backoff.ts'
import { RetryBudget } from '../src/policies/retry-budget.ts'

t.test('a retry budget', async (t) => {
  const event = fc.record({
    pauseMs: fc.oneof(
      fc.integer({ min: 0, max: 50 }),
      fc.integer({ min: 0, max: 3000 }),
      fc.constantFrom(999, 1000, 1001, 9999, 10_000, 10_001, 60_000)
    ),
    isDeposit: fc.boolean()
  })
  const events = fc.array(event, { maxLength: 300, size: 'max' })
  const ratio = fc.constantFrom(0, 0.07, 0.1, 0.29, 0.5, 1)

  t.test('keeps what retries may cost to its share, whatever comes and however long', async () => {
    const bounded = fc.property(events, ratio, (all, share) => {
      const budget = new RetryBudget({ ratio: share, minPerSecond: 0 })
      let [nowMs, first, retries] = [5, 0, 0]
      for (const { pauseMs, isDeposit } of all) {
        nowMs += pauseMs
        if (isDeposit) first++
        if (isDeposit) budget.deposit(nowMs)
        else if (budget.withdraw(nowMs)) retries++
        if (retries > first * share + 1e-6) return false
      }
      return true
    })
    fc.assert(bounded, { numRuns: 500 })
  })

  t.test('decides as counting everything of the last ten seconds anew would', async () => {
    const asModel = fc.property(
      events,
      ratio,
      fc.constantFrom(0, 0.2, 1),
      (all, share, minimum) => {
        const budget = new RetryBudget({ ratio: share, minPerSecond: minimum })
        const deposits: number[] = []
        const withdrawals: number[] = []
        let [elapsedMs, startMs] = [0, -1]
        for (const { pauseMs, isDeposit } of all) {
          elapsedMs += pauseMs
          if (startMs < 0) startMs = elapsedMs
          const second = Math.floor((elapsedMs - startMs) / 1000)
          const recent = (seconds: number[]): number =>
            seconds.filter((at) => at > second - 10).length
          if (isDeposit) {
            budget.deposit(elapsedMs)
            deposits.push(second)
            continue
          }
          const left = share * recent(deposits) + minimum * 10 - recent(withdrawals)
          const expected = left >= 1 - 1e-9
          if (expected) withdrawals.push(second)
          if (budget.withdraw(elapsedMs) !== expected) return false
        }
        return true
      }
    )
    fc.assert(asModel, { numRuns: 500 })
  })

  t.test('multiplies the load of an upstream that always fails by 1.1', async (t) => {
    const budget = new RetryBudget({ ratio: 0.1, minPerSecond: 0 })
    let attempts = 0
    for (let call = 0; call < 10_000; call++) {
      const nowMs = call * 2
      budget.deposit(nowMs)
      attempts++
      for (let retry = 0; retry < 3 && budget.withdraw(nowMs); retry++) attempts++
    }
    t.equal(attempts, 11_000)
  })

  t.test('gives the whole share, where floating point would lose one', async (t) => {
    const budget = new RetryBudget({ ratio: 0.29, minPerSecond: 0 })
    for (let call = 0; call < 100; call++) budget.deposit(0)
    t.equal(Array.from({ length: 40 }, () => budget.withdraw(0)).filter(Boolean).length, 29)
  })

  t.test('gives quiet callers their minimum, and not more', async (t) => {
    const budget = new RetryBudget({ ratio: 0, minPerSecond: 0.5 })
    const taken = Array.from({ length: 10 }, () => budget.withdraw(0)).filter(Boolean)
    t.equal(taken.length, 5)
    t.notOk(budget.withdraw(9999))
    t.ok(budget.withdraw(10_000))
  })

  t.test('does not save up what was not used', async (t) => {
    const budget = new RetryBudget({ ratio: 1, minPerSecond: 0 })
    for (let call = 0; call < 100; call++) budget.deposit(0)
    t.ok(budget.withdraw(9000))
    t.notOk(budget.withdraw(10_000))
  })

  t.test('is right when the clock stands still or steps back', async (t) => {
    const budget = new RetryBudget({ ratio: 1, minPerSecond: 0 })
    budget.deposit(5000)
    t.ok(budget.withdraw(4000))
    t.notOk(budget.withdraw(5000))
  })
})

t.test('backoff', async (t) => {
  t.test('waits anything up to a bound that doubles until the maximum', async (t) => {
    const bounds = [1, 2, 3, 4, 5, 2000].map((attempt) =>
      fullJitter(attempt, { baseMs: 100, maxMs: 1000 }, () => 1)
    )
    t.same(bounds, [100, 200, 400, 800, 1000, 1000])
    t.equal(
      fullJitter(3, { baseMs: 100, maxMs: 1000 }, () => 0),
      0
    )
    t.equal(
      fullJitter(2, { baseMs: 100, maxMs: 1000 }, () => 0.25),
      50
    )
  })

  t.test('is a finite time within its bounds for any options', async () => {
    const ms = fc.integer({ min: 0, max: 2 ** 31 })
    const part = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    const bounded = fc.property(
      fc.integer({ min: -5, max: 1e6 }),
      ms,
      ms,
      part,
      (n, base, max, r) => {
        const waitMs = fullJitter(n, { baseMs: base, maxMs: max }, () => r)
        return waitMs >= 0 && waitMs <= max
      }
    )
    fc.assert(bounded)
  })
})

t.test('Retry-After', async (t) => {
  const NOW = Date.UTC(2026, 10, 21, 12, 0, 0)

  t.test('is understood as seconds', async (t) => {
    t.equal(retryAfterMs('0', NOW), 0)
    t.equal(retryAfterMs('120', NOW), 120_000)
    t.equal(retryAfterMs(' 7 ', NOW), 7000)
    t.equal(retryAfterMs('1.5', NOW), 1500)
  })

  t.test('is understood as a date in each of the forms of the standard', async (t) => {
    t.equal(retryAfterMs('Sat, 21 Nov 2026 12:00:30 GMT', NOW), 30_000)
    t.equal(retryAfterMs('Saturday, 21-Nov-26 12:00:30 GMT', NOW), 30_000)
    t.equal(retryAfterMs('Sat Nov 21 12:00:30 2026', NOW), 30_000)
    t.equal(retryAfterMs('Tue Dec  1 12:00:00 2026', Date.UTC(2026, 11, 1, 11, 59)), 60_000)
  })

  t.test('is understood for any date, in whatever zone this runs', async () => {
    const anyDate = fc.integer({ min: -86_400, max: 86_400 })
    fc.assert(
      fc.property(anyDate, (seconds) => {
        const header = new Date(NOW + seconds * 1000).toUTCString()
        return retryAfterMs(header, NOW) === Math.max(0, seconds * 1000)
      })
    )
  })

  t.test('of the past means now', async (t) => {
    t.equal(retryAfterMs('Sat, 21 Nov 2020 12:00:00 GMT', NOW), 0)
    t.equal(retryAfterMs('Sunday, 06-Nov-94 08:49:37 GMT', NOW), 0)
  })

  t.test('is bounded', async (t) => {
    t.equal(retryAfterMs('999999999999999', NOW), MAX_RETRY_AFTER_MS)
    t.equal(retryAfterMs('Sat, 21 Nov 2099 12:00:00 GMT', NOW), MAX_RETRY_AFTER_MS)
  })

  const nonsense = [
    undefined,
    '',
    '   ',
    '-1',
    '+5',
    '1e3',
    '0x10',
    '5 s',
    '1,5',
    'NaN',
    'Infinity',
    '9'.repeat(400),
    'soon',
    '2026-11-21T12:00:30Z',
    'Sat, 31 Feb 2026 12:00:00 GMT',
    'Sat, 00 Nov 2026 12:00:00 GMT',
    'Sat, 21 Nov 2026 25:00:00 GMT',
    'Sat, 21 Nov 2026 12:60:00 GMT',
    'Sat, 21 Nov 2026 12:00:00 CET',
    'Sat, 21 Nov 2026 12:00:00',
    'Sat, 21 Ann 2026 12:00:00 GMT',
    'Sat, 21 Anf 2026 12:00:00 GMT'
  ]
  t.test('that makes no sense is ignored', async (t) => {
    for (const value of nonsense) t.equal(retryAfterMs(value, NOW), undefined, String(value))
  })

  t.test('of any text is nothing, or a time within bounds', async () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[\d.:, A-Za-z-]{0,40}$/))
    fc.assert(
      fc.property(text, (value) => {
        const waitMs = retryAfterMs(value, NOW)
        return waitMs === undefined || (waitMs >= 0 && waitMs <= MAX_RETRY_AFTER_MS)
      })
    )
  })
})
