import { Readable } from 'node:stream'
import { eventually } from '@fastify-vitals/testing'
import t from 'tap'
import { appWith, metric, rawUpstream, upstream } from './upstreams.ts'

const ONE_ATTEMPT = { retry: false } as const

function poolsOf(app: Awaited<ReturnType<typeof appWith>>): { active: number }[] {
  return (app.vitals.views.get('pools')!.read() as { pools: { active: number }[] }).pools
}

t.test('aborting a call closes its connection, whatever it waits for', async (t) => {
  const up = await upstream(t, (request, response) => {
    if (request.url === '/body') response.write('some')
  })
  const app = await appWith(t, up)
  for (const path of ['/headers', '/body']) {
    const controller = new AbortController()
    const call = app.httpClient('up').request({ path, signal: controller.signal })
    const whole: Promise<unknown> =
      path === '/body' ? call.then(async ({ body }) => await body.text()) : call
    await eventually(() => up.requests.some(({ url }) => url === path))
    if (path === '/body') await call
    controller.abort(new Error('changed my mind'))
    await t.rejects(whole, {
      code: 'VITALS_CALL_ABORTED',
      statusCode: 499,
      cause: { message: 'changed my mind' }
    })
    await eventually(() => up.abandoned.includes(path))
    t.pass(`the upstream saw ${path} close`)
  }
  t.equal(app.breakers.list()[0]!.figures.windowFailures, 0, 'and is not blamed')
  t.equal(metric(app, 'http_client_requests_total', { result: 'aborted' }), 2)
})

t.test('a call whose signal is aborted already is never sent', async (t) => {
  const up = await upstream(t, (_request, response) => void response.end())
  const app = await appWith(t, up)
  const call = app.httpClient('up').request({ path: '/', signal: AbortSignal.abort() })
  await t.rejects(call, { code: 'VITALS_CALL_ABORTED' })
  t.equal(up.requests.length, 0)
})

t.test('a body function that never ends holds nothing when its call has ended', async (t) => {
  const [a, b] = [
    await upstream(t, (_request, response) => void response.end('a')),
    await upstream(t, (_request, response) => void response.end('b'))
  ]
  const app = await appWith(t, [a, b])
  const client = app.httpClient('up')
  const made = new Readable({ read() {} })
  let make = (_body: Readable): void => {}
  for (const body of [
    () => new Promise<Readable>(() => {}),
    () => new Promise<Readable>((resolve) => (make = resolve))
  ]) {
    await t.rejects(client.request({ method: 'PUT', path: '/', body, timeoutMs: 20 }), {
      code: 'VITALS_DEADLINE_EXCEEDED'
    })
  }
  t.equal(metric(app, 'http_client_requests_total', { result: 'deadline' }), 2)
  make(made)
  await eventually(() => made.destroyed)
  t.pass('and what it makes nonetheless is closed')
  t.equal(metric(app, 'http_client_requests_total', { result: 'deadline' }), 2)
  t.equal(a.requests.length + b.requests.length, 0)
})

t.test(
  'a call that hangs while connecting ends at its deadline, and gives its place back',
  async (t) => {
    const silent = await rawUpstream(t, () => {})
    const origin = silent.origin.replace('http:', 'https:')
    const app = await appWith(
      t,
      { origin },
      { ...ONE_ATTEMPT, connections: 1, connectTimeoutMs: 300 }
    )
    const client = app.httpClient('up')
    await t.rejects(client.request({ path: '/', timeoutMs: 50 }), {
      code: 'VITALS_DEADLINE_EXCEEDED'
    })
    t.equal(poolsOf(app)[0]!.active, 1, 'its work has not ended yet')
    await eventually(() => poolsOf(app)[0]!.active === 0)
    const call = client.request({ path: '/' })
    await t.rejects(call, { code: 'VITALS_UPSTREAM_CONNECT_TIMEOUT', statusCode: 504 })
  }
)

t.test('the deadline covers queue, attempts, pauses and body', async (t) => {
  const up = await upstream(t, (request, response) => {
    if (request.url === '/body') response.write('some')
    if (request.url === '/again') response.writeHead(503, { 'retry-after': '5' }).end()
  })
  const app = await appWith(t, up, {
    retryBudget: { minPerSecond: 100 }
  })
  const client = app.httpClient('up')
  const late = { code: 'VITALS_DEADLINE_EXCEEDED', statusCode: 504 }
  await t.rejects(client.request({ path: '/headers', timeoutMs: 500 }), late)
  await t.rejects(
    client.request({ path: '/body', timeoutMs: 500 }).then(async ({ body }) => await body.text()),
    late
  )
  const answer = await client.request({ path: '/again', timeoutMs: 4000 })
  t.equal(answer.status, 503, 'no retry begins past it')
  await answer.body.dump()
  await eventually(() => up.abandoned.includes('/headers') && up.abandoned.includes('/body'))
})

t.test(
  'a request that has little time left shortens its calls, and may tell upstreams',
  async (t) => {
    const up = await upstream(t, (request, response) => {
      if (request.url === '/quick') response.end(request.headers['x-request-deadline-ms'])
    })
    const app = await appWith(t, up, { ...ONE_ATTEMPT, sendDeadline: true })
    app.get('/:what', async (request) => {
      const { what } = request.params as { what: string }
      const { body } = await app.httpClient('up').request({ path: `/${what}`, timeoutMs: 20_000 })
      return await body.text()
    })
    const headers = { 'x-request-deadline-ms': '150' }
    const quick = await app.inject({ url: '/quick', headers })
    t.ok(Number(quick.body) > 0 && Number(quick.body) <= 150, `${quick.body} ms were left`)
    const hanging = await app.inject({ url: '/hangs', headers })
    t.equal(hanging.statusCode, 504)
    t.equal(hanging.json().code, 'VITALS_DEADLINE_EXCEEDED')
    t.equal(
      app.breakers.list()[0]!.figures.windowFailures,
      0,
      'an impatient client does not open the breaker'
    )
    const gone = await app.inject({ url: '/quick', headers: { 'x-request-deadline-ms': '0' } })
    t.equal(gone.json().code, 'VITALS_DEADLINE_EXCEEDED')
    const nonsense = await app.inject({
      url: '/quick',
      headers: { 'x-request-deadline-ms': 'soon' }
    })
    t.ok(Number(nonsense.body) > 10_000, 'nonsense is no deadline')
  }
)

t.test('without a request there is no inherited deadline', async (t) => {
  const up = await upstream(
    t,
    (request, response) => void response.end(String(request.headers['x-request-deadline-ms']))
  )
  const app = await appWith(t, up)
  const { body } = await app.httpClient('up').request({ path: '/' })
  t.equal(await body.text(), 'undefined', 'nor is one told, unless asked for')
})
