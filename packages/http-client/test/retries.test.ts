import { Readable } from 'node:stream'
import { eventually, freePort } from '@fastify-vitals/testing'
import fc from 'fast-check'
import t from 'tap'
import { CallBudget } from '../src/call-budget.ts'
import { appWith, metric, rawUpstream, upstream } from './upstreams.ts'

/** Retries at once, as many as one likes. */
const EAGER = {
  retry: { maxAttempts: 3, baseMs: 1, maxMs: 1 },
  retryBudget: { ratio: 1, minPerSecond: 100 },
  breaker: false
} as const

t.test('a call that may be made twice is tried again until it succeeds', async (t) => {
  const up = await rawUpstream(t, (socket, nth) => {
    if (nth === 1) socket.resetAndDestroy()
    else if (nth === 2) socket.end('HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n')
    else socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
  })
  const app = await appWith(t, up, EAGER)
  const answer = await app.httpClient('up').request({ path: '/' })
  t.equal(await answer.body.text(), 'ok')
  t.equal(answer.attempts, 3)
  t.equal(metric(app, 'http_client_retries_total', { reason: 'connection' }), 1)
  t.equal(metric(app, 'http_client_retries_total', { reason: 'status' }), 1)
  t.equal(metric(app, 'http_client_calls_total'), 1)
  t.equal(metric(app, 'http_client_requests_total'), 3)
})

t.test('when all attempts fail the last answer is given, whatever its status', async (t) => {
  const up = await upstream(
    t,
    (_request, response, nth) => void response.writeHead(503).end(`${nth}`)
  )
  const app = await appWith(t, up, EAGER)
  const answer = await app.httpClient('up').request({ path: '/' })
  t.equal(answer.status, 503)
  t.equal(await answer.body.text(), '3')
})

t.test('what must not be sent twice is sent once', async (t) => {
  const up = await upstream(t, (request, response) => {
    request.resume()
    response.writeHead(503).end()
  })
  const app = await appWith(t, up, EAGER)
  const calls = [
    [1, { method: 'POST', body: 'x' }],
    [1, { method: 'PATCH', body: 'x' }],
    [1, { method: 'PUT', body: Readable.from(['a stream']) }],
    [1, { method: 'GET', idempotent: false }],
    [1, { method: 'PUT', body: 'x', idempotent: false, headers: { 'Idempotency-Key': 'k' } }],
    [1, { method: 'GET', hedge: { delayMs: 1 }, idempotent: false }],
    [3, { method: 'PUT', body: 'x' }],
    [3, { method: 'PUT', body: Buffer.from('x') }],
    [3, { method: 'PUT', body: () => Readable.from(['anew each time']) }],
    [3, { method: 'POST', body: 'x', idempotent: true }],
    [3, { method: 'POST', body: 'x', headers: { 'Idempotency-Key': 'k' } }]
  ] as const
  for (const [times, call] of calls) {
    const { attempts, body } = await app.httpClient('up').request({ path: '/', ...call })
    await body.dump()
    t.equal(attempts, times, JSON.stringify(call))
  }
})

t.test('a stream is never replayed, not even when the connection breaks', async (t) => {
  const up = await rawUpstream(t, (socket) => socket.resetAndDestroy())
  const app = await appWith(t, up, EAGER)
  const body = Readable.from(['once'])
  await t.rejects(app.httpClient('up').request({ method: 'PUT', path: '/', body }))
  t.equal(up.count(), 1)
})

t.test('a POST is sent again when no connection came about: nobody has seen it', async (t) => {
  const dead = { origin: `http://127.0.0.1:${await freePort()}` }
  const up = await upstream(t, (request, response) => void request.pipe(response))
  const app = await appWith(t, [dead, up], EAGER)
  for (let i = 0; i < 10; i++) {
    const { body } = await app.httpClient('up').request({ method: 'POST', path: '/', body: 'x' })
    t.equal(await body.text(), 'x')
  }
  t.equal(up.requests.length, 10)
})

t.test(
  'an answer that broke off in the middle is not asked for again: it was seen already',
  async (t) => {
    const up = await rawUpstream(t, (socket) =>
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf')
    )
    const app = await appWith(t, up, EAGER)
    const { body } = await app.httpClient('up').request({ path: '/' })
    await t.rejects(body.text(), { code: 'VITALS_UPSTREAM_TRUNCATED' })
    t.equal(up.count(), 1)
  }
)

t.test('Retry-After is waited for, and where it is too long nobody asks again', async (t) => {
  let after = '1'
  const up = await upstream(t, (_request, response, nth) => {
    if (nth % 2 === 1) response.writeHead(429, { 'retry-after': after }).end()
    else response.end('ok')
  })
  const app = await appWith(t, up, { ...EAGER, retry: { ...EAGER.retry, maxRetryAfterMs: 2000 } })
  const startMs = performance.now()
  const answer = await app.httpClient('up').request({ path: '/' })
  t.equal(answer.status, 200)
  t.ok(performance.now() - startMs >= 1000)
  after = '3'
  const refused = await app.httpClient('up').request({ path: '/' })
  t.equal(refused.status, 429)
  t.equal(refused.attempts, 1)
})

t.test('with an upstream that fails all calls, load grows by 10 % at most', async (t) => {
  const up = await upstream(t, (_request, response) => void response.writeHead(503).end())
  const app = await appWith(t, up, {
    breaker: false,
    retry: { maxAttempts: 10, baseMs: 1, maxMs: 1 }
  })
  const client = app.httpClient('up')
  for (let round = 0; round < 40; round++) {
    const calls = Array.from({ length: 25 }, () => client.request({ path: '/' }))
    for (const { body } of await Promise.all(calls)) await body.dump()
  }
  const retries = up.requests.length - 1000
  t.ok(retries > 50, `${retries} retries`)
  t.ok(retries <= 100, `${retries} retries for 1000 calls`)
  t.ok(metric(app, 'http_client_budget_refusals_total', { kind: 'retry' }) >= 890)
})

t.test('calls that we refuse ourselves earn no retries', async (t) => {
  const up = await upstream(t, (_request, response) => void response.writeHead(503).end())
  const budget = {
    retry: { maxAttempts: 10, baseMs: 1, maxMs: 1 },
    retryBudget: { minPerSecond: 0 }
  }
  const full = await appWith(t, up, { ...budget, breaker: false, connections: 2, maxQueue: 0 })
  const open = await appWith(t, up, { ...budget, connections: 2 })
  open.breakers.list()[0]!.force('open')
  for (let round = 0; round < 20; round++) {
    const calls = Array.from({ length: 20 }, () => full.httpClient('up').request({ path: '/' }))
    for (const end of await Promise.allSettled(calls)) {
      if (end.status === 'fulfilled') await end.value.body.dump()
    }
    await t.rejects(open.httpClient('up').request({ path: '/' }))
  }
  open.breakers.list()[0]!.force('closed')
  await (await open.httpClient('up').request({ path: '/' })).body.dump()
  const calls = metric(full, 'http_client_calls_total') + metric(open, 'http_client_calls_total')
  const refused = ['pool_full', 'breaker_open'].reduce(
    (sum, result) =>
      sum +
      [full, open].reduce(
        (all, app) => all + metric(app, 'http_client_requests_total', { result }),
        0
      ),
    0
  )
  t.ok(refused > 300, `${refused} of ${calls} were refused`)
  const sent = calls - refused
  t.ok(up.requests.length <= sent * 1.1, `${up.requests.length} requests for ${sent} calls`)
})

t.test(
  'a client of few calls has a retry in ten seconds all the same, and many calls earn no more for it',
  (t) => {
    const withdrawn = (calls: number, everyMs: number): number => {
      const budget = new CallBudget({ ratio: 0.1, minPerSecond: 0.1 })
      let taken = 0
      for (let i = 0; i < calls; i++) {
        budget.deposit(i * everyMs)
        if (budget.withdraw(i * everyMs)) taken++
      }
      return taken
    }
    t.equal(withdrawn(1, 0), 1)
    t.equal(withdrawn(7, 60_000), 7, 'one a minute')
    fc.assert(
      fc.property(
        fc.integer({ min: 10, max: 3000 }),
        fc.integer({ min: 1, max: 400 }),
        (calls, ms) => {
          const taken = withdrawn(calls, ms)
          return taken >= 1 && taken <= calls * 0.1
        }
      )
    )
    t.end()
  }
)

t.test('retries can be turned on and off for a call', async (t) => {
  const up = await upstream(t, (_request, response) => void response.writeHead(503).end())
  const app = await appWith(t, up, { ...EAGER, retry: false })
  const attempts = async (retry: boolean | object): Promise<number> => {
    const { attempts: made, body } = await app.httpClient('up').request({ path: '/', retry })
    await body.dump()
    return made
  }
  t.equal(await attempts(false), 1)
  t.equal(await attempts({ maxAttempts: 2, baseMs: 1 }), 2)
  t.equal(await attempts(true), 3)
  t.equal(await attempts({ statuses: [500] }), 1)
  t.equal(await attempts({ methods: undefined, baseMs: 1 }), 3, 'what is undefined was not given')
})

t.test('an abort ends the pause before a retry at once', async (t) => {
  const up = await upstream(t, (_request, response) => void response.writeHead(503).end())
  const retry = { maxAttempts: 5, baseMs: 60_000, maxMs: 60_000, maxElapsedMs: 600_000 }
  const app = await appWith(t, up, { ...EAGER, retry, timeoutMs: 600_000 })
  const controller = new AbortController()
  const call = app.httpClient('up').request({ path: '/', signal: controller.signal })
  await eventually(() => up.requests.length === 1 && metric(app, 'http_client_retries_total') === 1)
  controller.abort()
  await t.rejects(call, { code: 'VITALS_CALL_ABORTED' })
})
