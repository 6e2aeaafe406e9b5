import { eventually } from '@fastify-vitals/testing'
import t from 'tap'
import type { ClientResponse } from '../src/index.ts'
import { appWith, metric, rawUpstream, upstream } from './upstreams.ts'

t.test(
  'calls are spread over origins, and a failing one is taken out and comes back',
  async (t) => {
    let isSick = true
    const good = await upstream(t, (_request, response) => void response.end('ok'))
    const bad = await upstream(
      t,
      (_request, response) => void response.writeHead(isSick ? 500 : 200).end()
    )
    const app = await appWith(t, [good, bad], {
      breaker: false,
      retry: false,
      outlierEjection: { consecutiveFailures: 3, baseEjectionMs: 1500 }
    })
    const client = app.httpClient('up')
    const call = async (): Promise<ClientResponse> => {
      const answer = await client.request({ path: '/' })
      await answer.body.dump()
      return answer
    }
    await eventually(async () => {
      await call()
      return metric(app, 'http_client_ejections_total') === 1
    })
    const sent = bad.requests.length
    t.equal(sent, 3)
    for (let i = 0; i < 20; i++) t.equal((await call()).origin, good.origin)
    isSick = false
    await eventually(async () => (await call()).origin === bad.origin)
    t.pass('it is asked again when its time is over')
  }
)

t.test('a truncated answer speaks against its origin', async (t) => {
  const good = await upstream(t, (_request, response) => void response.end('ok'))
  const bad = await rawUpstream(t, (socket) =>
    socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf')
  )
  const app = await appWith(t, [good, bad], { outlierEjection: { consecutiveFailures: 3 } })
  await eventually(async () => {
    const { body } = await app.httpClient('up').request({ path: '/' })
    await body.text().catch(() => {})
    return metric(app, 'http_client_ejections_total') === 1
  })
  t.equal(bad.count(), 3)
})

t.test('the breaker of an origin opens, and calls go to the others or are refused', async (t) => {
  const bad = await upstream(t, (_request, response) => void response.writeHead(500).end())
  const good = await upstream(t, (_request, response) => void response.end('ok'))
  const breaker = { consecutiveFailures: 3, openMs: 60_000 }
  const both = await appWith(t, [bad, good], { retry: false, outlierEjection: false, breaker })
  await eventually(async () => {
    await (await both.httpClient('up').request({ path: '/' })).body.dump()
    return both.breakers.get(`up ${bad.origin}`)!.state === 'open'
  })
  for (let i = 0; i < 10; i++) {
    const answer = await both.httpClient('up').request({ path: '/' })
    await answer.body.dump()
    t.equal(answer.status, 200)
  }
  const alone = await appWith(t, bad, { retry: false, breaker })
  for (let i = 0; i < 3; i++)
    await (await alone.httpClient('up').request({ path: '/' })).body.dump()
  const before = bad.requests.length
  await t.rejects(alone.httpClient('up').request({ path: '/' }), {
    code: 'VITALS_BREAKER_OPEN',
    statusCode: 503
  })
  t.equal(bad.requests.length, before)
  t.equal(metric(alone, 'http_client_requests_total', { result: 'breaker_open' }), 1)
})

t.test('a breaker recovers by itself when its upstream does', async (t) => {
  let isSick = true
  const up = await upstream(t, (request, response) => {
    if (!isSick) response.end('ok')
    else request.socket.destroy()
  })
  const breaker = { consecutiveFailures: 2, openMs: 50, halfOpenProbes: 1, jitterRatio: 0 }
  const app = await appWith(t, up, { retry: false, breaker })
  const client = app.httpClient('up')
  await eventually(
    async () =>
      ((await client.request({ path: '/' }).catch((e: unknown) => e)) as { code: string }).code ===
      'VITALS_BREAKER_OPEN'
  )
  isSick = false
  const answer = await eventually(
    async () => await client.request({ path: '/' }).catch(() => false as const)
  )
  t.equal(answer.status, 200)
  await eventually(() => app.breakers.list()[0]!.state === 'closed')
})

t.test('client errors do not open a breaker, upstreams that hang do', async (t) => {
  const up = await upstream(t, (request, response) => {
    if (request.url === '/none') response.writeHead(404).end()
  })
  const app = await appWith(t, up, { retry: false, breaker: { consecutiveFailures: 3 } })
  const client = app.httpClient('up')
  for (let i = 0; i < 5; i++) await (await client.request({ path: '/none' })).body.dump()
  t.equal(app.breakers.list()[0]!.state, 'closed')
  for (let i = 0; i < 3; i++) await t.rejects(client.request({ path: '/hangs', timeoutMs: 20 }))
  t.equal(app.breakers.list()[0]!.state, 'open')
})
