import { VitalsError, VitalsOptionError } from '@fastify-vitals/metrics'
import fc from 'fast-check'
import { createServer } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import { isIPv4 } from 'node:net'
import type { AddressInfo, LookupFunction } from 'node:net'
import t from 'tap'
import { Agent, interceptors, request } from 'undici'
import { MAX_RETRY_AFTER_MS, fullJitter, retryAfterMs } from '../src/policies/backoff.ts'
import { Balancer } from '../src/policies/balancer.ts'
import { BlockedAddressError } from '../src/policies/blocked-address-error.ts'
import { wasBroken, wasNeverSent } from '../src/policies/connection-errors.ts'
import { Hedge } from '../src/policies/hedge.ts'
import { OutlierEjection } from '../src/policies/outlier-ejection.ts'
import { RetryBudget } from '../src/policies/retry-budget.ts'
import {
  IDEMPOTENT_METHODS,
  RETRY_STATUSES,
  hasIdempotencyKey,
  isReplayable,
  judgeRetry
} from '../src/policies/retry-policy.ts'
import type { AttemptOutcome, RetryRules } from '../src/policies/retry-policy.ts'
import { SsrfGuard, checkUrl, guardedLookup } from '../src/policies/ssrf-guard.ts'

function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 4294967296
  }
}

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

t.test('whether to retry', async (t) => {
  const rules: RetryRules = {
    methods: new Set(IDEMPOTENT_METHODS),
    statuses: new Set(RETRY_STATUSES),
    maxAttempts: 3,
    maxElapsedMs: 1000
  }
  const unavailable: AttemptOutcome = {
    method: 'GET',
    replayable: true,
    attempts: 1,
    elapsedMs: 10,
    waitMs: 100,
    statusCode: 503
  }
  const failed = (code: string, syscall?: string): Partial<AttemptOutcome> => ({
    statusCode: undefined,
    error: Object.assign(new Error(code), { code, syscall })
  })
  const judge = (changes: Partial<AttemptOutcome>): string =>
    judgeRetry(rules, { ...unavailable, ...changes })

  t.test('an idempotent call that met a passing failure is made again', async (t) => {
    for (const statusCode of RETRY_STATUSES) t.equal(judge({ statusCode }), 'retry')
    for (const method of IDEMPOTENT_METHODS) t.equal(judge({ method }), 'retry')
    for (const code of ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'UND_ERR_SOCKET', 'ECONNREFUSED']) {
      t.equal(judge(failed(code)), 'retry', code)
    }
  })

  t.test('an answer that would come out the same is not', async (t) => {
    for (const statusCode of [200, 301, 304, 400, 401, 404, 409, 500, 501]) {
      t.equal(judge({ statusCode }), 'not_retryable', String(statusCode))
    }
  })

  t.test('what the caller did, or will be the same again, is not', async (t) => {
    const codes = [
      'UND_ERR_ABORTED',
      'UND_ERR_DESTROYED',
      'CERT_HAS_EXPIRED',
      'HPE_INVALID_CONSTANT',
      'VITALS_BREAKER_OPEN',
      'VITALS_ADDRESS_BLOCKED'
    ]
    for (const code of codes) t.equal(judge(failed(code)), 'not_retryable', code)
    const aborted = new DOMException('aborted', 'AbortError')
    t.equal(judge({ ...failed(''), error: aborted }), 'not_retryable')
    t.equal(judge({ ...failed(''), error: 'ECONNRESET' }), 'not_retryable')
    t.equal(judge({ ...failed(''), error: undefined }), 'not_retryable')
  })

  t.test(
    'a POST is made again only when nothing of it was sent, or the caller vouches',
    async (t) => {
      const method = 'POST'
      t.equal(judge({ method }), 'not_idempotent')
      t.equal(judge({ method, ...failed('ECONNRESET') }), 'not_idempotent')
      t.equal(judge({ method, ...failed('ETIMEDOUT', 'read') }), 'not_idempotent')
      t.equal(judge({ method, ...failed('UND_ERR_HEADERS_TIMEOUT') }), 'not_idempotent')
      t.equal(judge({ method, ...failed('ECONNREFUSED') }), 'retry')
      t.equal(judge({ method, ...failed('UND_ERR_CONNECT_TIMEOUT') }), 'retry')
      t.equal(judge({ method, ...failed('ETIMEDOUT', 'connect') }), 'retry')
      t.equal(judge({ method, idempotent: true }), 'retry')
    }
  )

  t.test('a GET is not, where its caller says so and something was sent', async (t) => {
    t.equal(judge({ idempotent: false }), 'not_idempotent')
    t.equal(judge({ idempotent: false, ...failed('ECONNRESET') }), 'not_idempotent')
    t.equal(judge({ idempotent: false, ...failed('ECONNREFUSED') }), 'retry')
  })

  t.test('methods and statuses are as the rules say', async (t) => {
    const own = { ...rules, methods: new Set(['POST']), statuses: new Set([500]) }
    t.equal(judgeRetry(own, { ...unavailable, method: 'POST', statusCode: 500 }), 'retry')
    t.equal(judgeRetry(own, { ...unavailable, statusCode: 500 }), 'not_idempotent')
    t.equal(judgeRetry(own, unavailable), 'not_retryable')
  })

  t.test('a body that is gone, or an answer that has begun, ends it', async (t) => {
    t.equal(judge({ replayable: false }), 'body_not_replayable')
    t.equal(judge({ replayable: false, ...failed('ECONNREFUSED') }), 'body_not_replayable')
    t.equal(judge({ answerBegun: true, ...failed('ECONNRESET') }), 'answer_begun')
  })

  t.test('attempts and time are bounded, waiting included', async (t) => {
    t.equal(judge({ attempts: 2 }), 'retry')
    t.equal(judge({ attempts: 3 }), 'max_attempts')
    t.equal(judge({ elapsedMs: 900, waitMs: 100 }), 'retry')
    t.equal(judge({ elapsedMs: 900, waitMs: 101 }), 'max_elapsed')
    t.equal(judge({ elapsedMs: 0, waitMs: Number.NaN }), 'max_elapsed')
  })

  t.test('it says retry only when every single rule does', async () => {
    const outcome = fc.record({
      method: fc.constantFrom('GET', 'PUT', 'POST', 'PATCH', 'get'),
      idempotent: fc.option(fc.boolean(), { nil: undefined }),
      replayable: fc.boolean(),
      answerBegun: fc.boolean(),
      attempts: fc.integer({ min: 1, max: 4 }),
      elapsedMs: fc.integer({ min: 0, max: 1200 }),
      waitMs: fc.integer({ min: 0, max: 300 }),
      fault: fc.constantFrom(200, 500, 503, 'ECONNREFUSED', 'ECONNRESET', 'OTHER')
    })
    const asModel = fc.property(outcome, ({ fault, ...rest }) => {
      const ended = typeof fault === 'number' ? { statusCode: fault } : { error: { code: fault } }
      const expected =
        (fault === 503 || fault === 'ECONNREFUSED' || fault === 'ECONNRESET') &&
        ((rest.idempotent ?? ['GET', 'PUT'].includes(rest.method)) || fault === 'ECONNREFUSED') &&
        rest.replayable &&
        !rest.answerBegun &&
        rest.attempts < 3 &&
        rest.elapsedMs + rest.waitMs <= 1000
      return (judgeRetry(rules, { ...rest, ...ended }) === 'retry') === expected
    })
    fc.assert(asModel, { numRuns: 1000 })
  })

  t.test('errors are known through their wrapping', async (t) => {
    const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
    const reset = Object.assign(new Error('reset'), { code: 'ECONNRESET' })
    t.ok(wasNeverSent(new TypeError('fetch failed', { cause: refused })))
    t.ok(wasNeverSent(new AggregateError([refused, refused])))
    t.notOk(wasNeverSent(new AggregateError([refused, reset])), 'one of them was connected')
    t.ok(wasBroken(new AggregateError([refused, reset])))
    t.notOk(wasNeverSent(new AggregateError([])))
    const ours = new VitalsError('VITALS_OWN', 'own', { cause: refused })
    t.notOk(wasBroken(ours), 'an error with a code of its own is judged by that')
    const circular: { cause?: unknown } = {}
    circular.cause = circular
    t.notOk(wasBroken(circular))
  })

  t.test('what can be sent twice is what is in memory', async (t) => {
    const kept = [undefined, null, '', 'a', Buffer.from('a'), new Uint8Array(1), new ArrayBuffer(1)]
    for (const body of [...kept, new URLSearchParams('a=b'), new Blob(['a']), new FormData()]) {
      t.ok(isReplayable(body), Object.prototype.toString.call(body))
    }
    const stream = new ReadableStream()
    const generator = (function* () {
      yield 'a'
    })()
    for (const body of [stream, generator, ['a'][Symbol.iterator](), { pipe: () => undefined }]) {
      t.notOk(isReplayable(body), Object.prototype.toString.call(body))
    }
  })

  t.test('an Idempotency-Key is found in all the forms that undici takes headers in', async (t) => {
    t.ok(hasIdempotencyKey({ 'Idempotency-Key': 'a' }))
    t.ok(hasIdempotencyKey(['accept', '*/*', 'idempotency-key', 'a']))
    t.ok(hasIdempotencyKey(new Map([['IDEMPOTENCY-KEY', 'a']])))
    t.ok(hasIdempotencyKey(new Headers({ 'idempotency-key': 'a' })))
    t.ok(hasIdempotencyKey([['idempotency-key', 'a']]))
    for (const headers of [undefined, null, {}, [], ['a', 'idempotency-key'], new Map()]) {
      t.notOk(hasIdempotencyKey(headers))
    }
    t.notOk(hasIdempotencyKey({ 'idempotency-key': '' }))
    t.notOk(hasIdempotencyKey({ 'idempotency-key': undefined }))
  })
})

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

t.test('hedging', async (t) => {
  const unlimited = (): RetryBudget => new RetryBudget({ ratio: 1, minPerSecond: 1000 })

  t.test('waits as long as it was told', async (t) => {
    const hedge = new Hedge({ delay: 80, minDelayMs: 100, budget: unlimited() })
    hedge.observe(1)
    t.equal(hedge.delayMs(), 80)
  })

  t.test('waits as one call wants it, by what is known of all', async (t) => {
    const hedge = new Hedge({ delay: 80, minDelayMs: 100, budget: unlimited() })
    t.equal(hedge.delayMs({ delay: 5, minDelayMs: 1 }), 5)
    for (let call = 1; call <= 20; call++) hedge.observe(call)
    t.equal(hedge.delayMs({ delay: 'p95', minDelayMs: 1 }), 19)
    t.equal(hedge.delayMs(), 80)
  })

  t.test('waits as long as 95 of 100 calls take, once it has seen some', async (t) => {
    const hedge = new Hedge({ delay: 'p95', minDelayMs: 1, budget: unlimited() })
    for (let call = 1; call < 20; call++) hedge.observe(call)
    t.equal(hedge.delayMs(), undefined)
    hedge.observe(20)
    t.equal(hedge.delayMs(), 19)
  })

  t.test('knows the exact p95 of the calls it keeps, and forgets older ones', async () => {
    const latencies = fc.array(fc.integer({ min: 1, max: 5000 }), {
      minLength: 32,
      maxLength: 1200,
      size: 'max'
    })
    fc.assert(
      fc.property(latencies, (all) => {
        const hedge = new Hedge({ delay: 'p95', minDelayMs: 0, budget: unlimited() })
        for (const latency of all) hedge.observe(latency)
        const known = all.slice(0, all.length - (all.length % 32)).slice(-512)
        const sorted = known.toSorted((a, b) => a - b)
        return hedge.delayMs() === sorted[Math.ceil(sorted.length * 0.95) - 1]
      })
    )
  })

  t.test('does not hedge the noise of an upstream that is very fast', async (t) => {
    const hedge = new Hedge({ delay: 'p95', minDelayMs: 10, budget: unlimited() })
    for (let call = 0; call < 32; call++) hedge.observe(0.5)
    t.equal(hedge.delayMs(), 10)
  })

  t.test('stops when the budget is spent', async (t) => {
    const budget = new RetryBudget({ ratio: 0.1, minPerSecond: 0 })
    const hedge = new Hedge({ delay: 80, minDelayMs: 10, budget })
    for (let call = 0; call < 20; call++) budget.deposit(0)
    t.same([hedge.allow(0), hedge.allow(0), hedge.allow(0)], [true, true, false])
  })
})

/** `[name or address, bits]` of everything blocked, counted by hand and without BlockList. */
const RANGES_V4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3]
]

const v4Number = (address: string): number =>
  address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
const v4Text = (value: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')

function isBlockedV4(value: number): boolean {
  return RANGES_V4.some(([start, bits]) => {
    const size = 2 ** (32 - bits)
    return Math.floor(value / size) === Math.floor(v4Number(start) / size)
  })
}

const groupsOf = (value: bigint): number[] =>
  Array.from({ length: 8 }, (_, at) => Number((value >> BigInt(112 - at * 16)) & 0xffffn))
const v6Text = (value: bigint): string =>
  groupsOf(value)
    .map((group) => group.toString(16))
    .join(':')

function isBlockedV6(value: bigint): boolean {
  const embedded = value & 0xffffffffn
  if (value >> 32n === 0xffffn) return isBlockedV4(Number(embedded))
  if (value >> 32n === 0x64ff9b0000000000000000n) return isBlockedV4(Number(embedded))
  if (value >> 125n !== 1n) return true
  const [first = 0, second = 0] = groupsOf(value)
  if (first === 0x2001) return second < 0x200 || second === 0xdb8
  return first === 0x2002 || first === 0x3ffe || (first === 0x3fff && second < 0x1000)
}

/** What `lookup` found, as net.connect would ask for it. */
function found(lookup: LookupFunction, host = 'host.example'): Promise<string[]> {
  return new Promise((resolve, reject) => {
    lookup(host, { all: true }, (error, addresses) => {
      if (error) reject(error)
      else if (typeof addresses === 'string') reject(new Error('one address instead of all'))
      else resolve(addresses.map(({ address }) => address))
    })
  })
}

const answering =
  (...addresses: string[]): LookupFunction =>
  (_host, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: isIPv4(address) ? 4 : 6 }))
    )

async function isBlocked(
  address: string,
  allow: readonly string[] = [],
  host?: string
): Promise<boolean> {
  const lookup = guardedLookup({ allow, lookup: answering(address) })
  return found(lookup, host).then(
    () => false,
    (error: unknown) => {
      if (error instanceof BlockedAddressError) return true
      throw error
    }
  )
}

t.test('the SSRF guard', async (t) => {
  t.test('lets through exactly the IPv4 addresses of public hosts', async () => {
    const edges = RANGES_V4.flatMap(([start, bits]) => {
      const from = v4Number(start)
      return [from - 1, from, from + 2 ** (32 - bits) - 1, from + 2 ** (32 - bits)]
    }).filter((value) => value >= 0 && value < 2 ** 32)
    const address = fc.oneof(fc.constantFrom(...edges), fc.integer({ min: 0, max: 2 ** 32 - 1 }))
    await fc.assert(
      fc.asyncProperty(address, async (value) => {
        return (await isBlocked(v4Text(value))) === isBlockedV4(value)
      }),
      { numRuns: 1000 }
    )
  })

  t.test('lets through exactly the IPv6 addresses of public hosts', async () => {
    const group = fc.integer({ min: 0, max: 0xffff })
    const start = fc.oneof(
      group.map((first) => [first]),
      fc.constantFrom(0x2001, 0x3fff).chain((first) => group.map((second) => [first, second])),
      fc.constantFrom([0x2001, 0x1ff], [0x2001, 0x200], [0x3fff, 0xfff], [0x3fff, 0x1000]),
      fc.constantFrom([0x2001, 0xdb8], [0x2002], [0x3ffe], [0x64, 0xff9b], [0x64, 0xff9b, 1]),
      fc.constantFrom([0, 0, 0, 0, 0, 0xffff], [0x64, 0xff9b, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0])
    )
    const address = fc
      .tuple(start, fc.array(group, { minLength: 8, maxLength: 8 }))
      .map(([a, b]) =>
        [...a, ...b].slice(0, 8).reduce((sum, one) => (sum << 16n) + BigInt(one), 0n)
      )
    await fc.assert(
      fc.asyncProperty(address, async (value) => {
        return (await isBlocked(v6Text(value))) === isBlockedV6(value)
      }),
      { numRuns: 1000 }
    )
  })

  const inside = [
    '127.0.0.1',
    '127.255.255.254',
    '0.0.0.0',
    '10.0.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '100.64.0.1',
    '169.254.169.254',
    '100.100.100.200',
    '168.63.129.16',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::127.0.0.1',
    '::ffff:127.0.0.1',
    '::ffff:a9fe:a9fe',
    '::ffff:0:127.0.0.1',
    '0:0:0:0:0:ffff:10.0.0.1',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'fe80::1%lo',
    'fec0::1',
    'ff02::1',
    '64:ff9b::127.0.0.1',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b::7f00:0',
    '64:ff9b::',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '2002:808:808::1',
    '2001:0:4136:e378:8000:63bf:3fff:fdd2',
    '100::1',
    'not an address',
    '0x7f.1',
    '0177.0.0.1',
    ''
  ]
  t.test('blocks what leads inside, in whatever disguise', async (t) => {
    for (const address of inside) t.ok(await isBlocked(address), address)
  })

  t.test('lets through public hosts, those of networks without IPv4 included', async (t) => {
    const outside = [
      '8.8.8.8',
      '172.32.0.1',
      '100.128.0.1',
      '2606:4700::1111',
      '2a00:1450:4001::1',
      '::ffff:8.8.8.8',
      '64:ff9b::8.8.8.8'
    ]
    for (const address of outside) t.notOk(await isBlocked(address), address)
  })

  t.test(
    'lets through what is allowed: an address, a range, a host, hosts below a name',
    async (t) => {
      t.notOk(await isBlocked('10.1.2.3', ['10.1.0.0/16']))
      t.ok(await isBlocked('10.2.0.0', ['10.1.0.0/16']))
      t.notOk(await isBlocked('::ffff:10.1.2.3', ['10.1.2.3']))
      t.notOk(await isBlocked('10.1.2.3', ['::ffff:10.1.0.0/112']))
      t.notOk(await isBlocked('fd12::1', ['fd12::/16']))
      t.ok(await isBlocked('fd13::1', ['fd12::/16']))
      t.notOk(await isBlocked('10.0.0.1', ['Service.Internal'], 'service.internal'))
      t.notOk(await isBlocked('10.0.0.1', ['bücher.example'], 'xn--bcher-kva.example'))
      t.notOk(await isBlocked('10.0.0.1', ['*.internal'], 'a.b.internal'))
      t.ok(await isBlocked('10.0.0.1', ['*.internal'], 'internal'))
      t.ok(await isBlocked('10.0.0.1', ['*.internal'], 'evil-internal'))
      t.ok(await isBlocked('10.0.0.1', ['internal'], 'a.internal'))
    }
  )

  t.test('allowing IPv4 ranges allows no IPv6, and the other way round', async (t) => {
    t.ok(await isBlocked('::1', ['0.0.0.0/0']))
    t.ok(await isBlocked('127.0.0.1', ['::/0']))
  })

  t.test('does not let an allowed name lead to the metadata of a cloud', async (t) => {
    for (const address of [
      '169.254.169.254',
      'fd00:ec2::254',
      '::ffff:169.254.169.254',
      'fe80::1'
    ]) {
      t.ok(await isBlocked(address, ['a.internal'], 'a.internal'), address)
    }
    t.notOk(await isBlocked('169.254.169.254', ['169.254.169.254'], 'a.internal'))
  })

  t.test('refuses an allow list that it does not understand', async (t) => {
    const wrong = ['10.0.0.0/33', '10.0.0/8', '1.2.3.4/', '1.2.3.4/8/8', '::/129', '0x7f.1', 'a b']
    for (const entry of [
      ...wrong,
      '',
      '*',
      '*.',
      '*.*.a',
      'http://a',
      'a:80',
      'a/b',
      'fe80::1%lo'
    ]) {
      t.throws(() => new SsrfGuard({ allow: [entry] }), VitalsOptionError, entry)
    }
    t.throws(() => new SsrfGuard({ allow: ['::ffff:10.0.0.0/95'] }), VitalsOptionError)
  })

  t.test('gives on only those of several addresses that may be connected to', async (t) => {
    const lookup = guardedLookup({ lookup: answering('10.0.0.1', '8.8.8.8', '::1', '2606::1') })
    t.same(await found(lookup), ['8.8.8.8', '2606::1'])
  })

  t.test('gives one address to who asks for one', async (t) => {
    const lookup = guardedLookup({ lookup: answering('10.0.0.1', '2606::1', '8.8.8.8') })
    const one = await new Promise((resolve) => {
      lookup('host.example', {}, (...given) => resolve(given))
    })
    t.same(one, [null, '2606::1', 6])
  })

  t.test('understands look-ups that know of one address only, and of none', async (t) => {
    const single: LookupFunction = (_host, _options, callback) => callback(null, '8.8.8.8', 4)
    t.same(await found(guardedLookup({ lookup: single })), ['8.8.8.8'])
    await t.rejects(found(guardedLookup({ lookup: answering() })), BlockedAddressError)
    const missing = Object.assign(new Error('not found'), { code: 'ENOTFOUND' })
    const failing: LookupFunction = (_host, _options, callback) => callback(missing, [])
    await t.rejects(found(guardedLookup({ lookup: failing })), missing)
  })

  t.test('its error can be told apart and tells nobody what is inside', async (t) => {
    const error: unknown = await found(guardedLookup({ lookup: answering('10.9.8.7') })).catch(
      (reason: unknown) => reason
    )
    t.ok(error instanceof VitalsError)
    t.match(error, {
      name: 'BlockedAddressError',
      code: 'VITALS_ADDRESS_BLOCKED',
      reason: 'address'
    })
    t.match(error, { target: 'host.example', address: '10.9.8.7', statusCode: 502 })
    t.notMatch(String(error), '10.9.8.7')
  })
})

const reasonOf = (url: string | URL, allow: readonly string[] = []): string | undefined => {
  try {
    checkUrl(url, { allow })
    return undefined
  } catch (error) {
    return error instanceof BlockedAddressError ? error.reason : String(error)
  }
}

const messageOf = (url: string): string => {
  try {
    return checkUrl(url).href
  } catch (error) {
    return String(error)
  }
}

t.test('checking a URL', async (t) => {
  t.test('passes URLs of public hosts on as they are', async (t) => {
    for (const url of ['http://example.com/', 'https://8.8.8.8:8443/a?b', 'https://[2606::1]/']) {
      t.equal(checkUrl(url).href, url)
    }
    t.equal(reasonOf(new URL('https://example.com')), undefined)
  })

  t.test('refuses addresses inside, in any notation', async (t) => {
    const hosts = [
      '127.0.0.1',
      '127.1',
      '0x7f.1',
      '0x7f000001',
      '2130706433',
      '017700000001',
      '0177.0.0.1',
      '127.0.0.1.',
      '%31%32%37.0.0.1',
      '１２７.０.０.１',
      '127。0。0。1',
      '0',
      '[::1]',
      '[::]',
      '[::ffff:7f00:1]',
      '[::ffff:127.0.0.1]',
      '[0:0:0:0:0:ffff:a9fe:a9fe]',
      '[64:ff9b::127.0.0.1]',
      '[fd00:ec2::254]',
      '169.254.169.254',
      '2852039166'
    ]
    for (const host of hosts) t.equal(reasonOf(`http://${host}:8080/`), 'address', host)
    t.equal(reasonOf('http:\\\\127.0.0.1'), 'address')
    t.equal(reasonOf('http://a@127.0.0.1\n/'), 'credentials')
  })

  t.test('refuses other protocols and credentials, and does not repeat them', async (t) => {
    for (const url of [
      'file:///etc/passwd',
      'gopher://a',
      'ftp://a',
      'data:,a',
      'unix:/a',
      'ws://a'
    ]) {
      t.equal(reasonOf(url), 'protocol', url)
    }
    t.equal(checkUrl('ws://a/', { protocols: ['ws:'] }).href, 'ws://a/')
    for (const url of [
      'http://user@a',
      'http://:secret@a',
      'http://user:secret@a/path?key=secret'
    ]) {
      t.equal(reasonOf(url), 'credentials', url)
      t.notMatch(messageOf(url), 'secret')
    }
    for (const url of ['', 'nonsense', '//a', 'http://', 'http://[::1', 'http://1.2.3.4.5']) {
      t.equal(reasonOf(url), 'invalid_url', url)
    }
  })

  t.test('lets through allowed addresses, and leaves names to the look-up', async (t) => {
    t.equal(reasonOf('http://127.0.0.1', ['127.0.0.1']), undefined)
    t.equal(reasonOf('http://0x7f.1', ['127.0.0.0/8']), undefined)
    t.equal(reasonOf('http://localhost'), undefined)
  })
})

async function serving(listener: RequestListener): Promise<{ server: Server; port: number }> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return { server, port }
}

t.test('undici behind the guard', async (t) => {
  let requests = 0
  const { server, port } = await serving((incoming, answer) => {
    requests++
    if (incoming.url === '/away') answer.writeHead(302, { location: `http://127.0.0.2:${port}/` })
    answer.end('inside')
  })
  t.teardown(() => server.close())

  const agentOf = (guard: SsrfGuard): Agent => {
    const agent = new Agent({ connect: guard.connector(), pipelining: 0 })
    t.teardown(() => agent.close())
    return agent
  }
  const blocked = { name: 'BlockedAddressError', code: 'VITALS_ADDRESS_BLOCKED' }

  t.test('connects to nothing inside, by name or by address', async (t) => {
    const dispatcher = agentOf(new SsrfGuard({ lookup: answering('127.0.0.1') }))
    const before = requests
    for (const host of ['inside.example', '127.0.0.1', '[::1]', '[::ffff:7f00:1]', '0x7f.1']) {
      await t.rejects(request(`http://${host}:${port}/`, { dispatcher }), blocked, host)
    }
    await t.rejects(request(`https://127.0.0.1:${port}/`, { dispatcher }), blocked)
    t.equal(requests, before)
  })

  t.test('connects to nothing inside through the look-up of the system', async (t) => {
    const dispatcher = agentOf(new SsrfGuard())
    await t.rejects(request(`http://localhost:${port}/`, { dispatcher }), blocked)
  })

  t.test('connects to the very address that was checked, looked up once', async (t) => {
    let lookups = 0
    const lookup: LookupFunction = (host, options, callback) => {
      lookups++
      answering('169.254.169.254', '127.0.0.1')(host, options, callback)
    }
    const dispatcher = agentOf(new SsrfGuard({ allow: ['127.0.0.1'], lookup }))
    const { body } = await request(`http://service.example:${port}/`, { dispatcher })
    t.equal(await body.text(), 'inside')
    t.equal(lookups, 1)
  })

  t.test('a name that leads elsewhere the next time is blocked the next time', async (t) => {
    const answers = [answering('127.0.0.1'), answering('10.0.0.1')]
    const lookup: LookupFunction = (...given) => answers.shift()!(...given)
    const dispatcher = agentOf(new SsrfGuard({ allow: ['127.0.0.1'], lookup }))
    const get = (): Promise<unknown> =>
      request(`http://rebinding.example:${port}/`, { dispatcher, reset: true }).then(({ body }) =>
        body.text()
      )
    t.equal(await get(), 'inside')
    await t.rejects(get(), blocked)
  })

  t.test('follows no redirect to the inside', async (t) => {
    const agent = agentOf(new SsrfGuard({ allow: ['127.0.0.1'] }))
    const dispatcher = agent.compose(interceptors.redirect({ maxRedirections: 3 }))
    await t.rejects(request(`http://127.0.0.1:${port}/away`, { dispatcher }), blocked)
  })
})

t.test('errors as undici really gives them', async (t) => {
  const { server, port } = await serving((incoming) => incoming.socket.destroy())
  const errorOf = (host: string): Promise<unknown> =>
    request(`http://${host}:${port}/`, { method: 'POST' }).then(
      () => undefined,
      (error: unknown) => error
    )

  t.test('a connection that broke is one, though not one that never was', async (t) => {
    const error = await errorOf('127.0.0.1')
    t.ok(wasBroken(error), String(error))
    t.notOk(wasNeverSent(error))
  })

  t.test('a connection refused never was, with one address or several', async (t) => {
    await new Promise((resolve) => server.close(resolve))
    for (const host of ['127.0.0.1', 'localhost']) t.ok(wasNeverSent(await errorOf(host)), host)
  })
})
