import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { eventually } from '@fastify-vitals/testing'
import fc from 'fast-check'
import t from 'tap'
import { Hedge } from '../src/policies/hedge.ts'
import { RetryBudget } from '../src/policies/retry-budget.ts'
import { appWith, metric, upstream } from './upstreams.ts'

/** Retries at once, as many as one likes. */
const EAGER = {
  retry: { maxAttempts: 3, baseMs: 1, maxMs: 1 },
  retryBudget: { ratio: 1, minPerSecond: 100 },
  breaker: false
} as const

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

t.test(
  'a late call is hedged; the faster answer wins and the other request is closed',
  async (t) => {
    const up = await upstream(t, (request, response, nth) => {
      if (nth > 1) response.end('second')
      else request.resume()
    })
    const app = await appWith(t, up, { ...EAGER, hedge: { delayMs: 30 } })
    const answer = await app.httpClient('up').request({ path: '/' })
    t.equal(await answer.body.text(), 'second')
    t.equal(answer.attempts, 2)
    await eventually(() => up.abandoned.length === 1)
    t.equal(metric(app, 'http_client_hedges_total', { outcome: 'sent' }), 1)
    t.equal(metric(app, 'http_client_hedges_total', { outcome: 'won' }), 1)
    await eventually(
      () => metric(app, 'http_client_requests_total', { result: 'superseded' }) === 1
    )
  }
)

t.test('a call that is not late is not hedged, nor one that must not be made twice', async (t) => {
  const up = await upstream(t, async (request, response) => {
    request.resume()
    if (request.url === '/slow') await wait(80)
    response.end('ok')
  })
  const app = await appWith(t, up, { ...EAGER, hedge: { delayMs: 30 } })
  const calls = [
    { path: '/', hedge: { delayMs: 60_000 } },
    { path: '/slow', method: 'POST' },
    { path: '/slow', method: 'PUT', body: Readable.from(['stream']) },
    { path: '/slow', hedge: false }
  ]
  for (const call of calls) await (await app.httpClient('up').request(call)).body.dump()
  t.equal(up.requests.length, calls.length)
})

t.test('the options of one call hedge it by what is known of all', async (t) => {
  let isSlow = false
  const up = await upstream(t, (_request, response, nth) => {
    if (!isSlow || nth % 2 === 0) response.end('ok')
  })
  const app = await appWith(t, up, { ...EAGER, hedge: {} })
  const call = async (): Promise<number> => {
    const hedge = { minDelayMs: 5 }
    const { attempts, body } = await app.httpClient('up').request({ path: '/', hedge })
    await body.dump()
    return attempts
  }
  while (up.requests.length < 40) await call()
  isSlow = true
  t.equal(await call(), 2)
})

t.test('waiting for our own pool is no reason to hedge', async (t) => {
  const held: (() => void)[] = []
  const up = await upstream(t, (_request, response) => void held.push(() => response.end('ok')))
  const hedge = { delayMs: 20 }
  const app = await appWith(t, up, { ...EAGER, hedge, connections: 2, queueTimeoutMs: 60_000 })
  const client = app.httpClient('up')
  const calls = [1, 2, 3].map(() => client.request({ path: '/' }))
  await eventually(() => held.length === 2)
  await wait(60)
  t.equal(metric(app, 'http_client_hedges_total'), 0, 'nor is one sent that would have to wait')
  t.equal(metric(app, 'http_client_budget_refusals_total'), 0)
  for (const end of held) end()
  await eventually(() => metric(app, 'http_client_hedges_total', { outcome: 'sent' }) === 1)
  for (const end of held) end()
  for (const call of calls) await (await call).body.dump()
})

t.test(
  'what a call waited for our pool does not count as the time that answers take',
  async (t) => {
    const up = await upstream(t, async (_request, response, nth) => {
      await wait(50)
      if (nth !== 41) response.end('ok')
    })
    const options = { hedge: {}, connections: 2, queueTimeoutMs: 60_000 }
    const app = await appWith(t, up, { ...EAGER, ...options })
    const client = app.httpClient('up')
    const calls = Array.from({ length: 40 }, async () => {
      const { body, timings } = await client.request({ path: '/' })
      await body.dump()
      return timings.queueMs
    })
    const longestMs = Math.max(...(await Promise.all(calls)))
    const { attempts, timings, body } = await client.request({ path: '/' })
    await body.dump()
    t.equal(attempts, 2)
    t.ok(timings.totalMs < longestMs, `${timings.totalMs} ms, though others waited ${longestMs} ms`)
  }
)

t.test('hedges come out of the retry budget', async (t) => {
  const up = await upstream(t, async (_request, response) => {
    await wait(60)
    response.end('ok')
  })
  const app = await appWith(t, up, {
    hedge: { delayMs: 5 },
    retryBudget: { ratio: 0.1, minPerSecond: 0 }
  })
  const calls = Array.from({ length: 50 }, () => app.httpClient('up').request({ path: '/' }))
  for (const { body } of await Promise.all(calls)) await body.dump()
  t.ok(up.requests.length <= 55, `${up.requests.length} requests for 50 calls`)
  t.ok(metric(app, 'http_client_budget_refusals_total', { kind: 'hedge' }) >= 45)
})

t.test('a quick failure does not win against a hedge that may still succeed', async (t) => {
  const up = await upstream(t, async (_request, response, nth) => {
    await wait(nth === 1 ? 60 : 120)
    response.writeHead(nth === 1 ? 503 : 200).end()
  })
  const app = await appWith(t, up, { ...EAGER, retry: false, hedge: { delayMs: 20 } })
  const answer = await app.httpClient('up').request({ path: '/' })
  t.equal(answer.status, 200)
})
