import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { eventually, freePort } from '@fastify-vitals/testing'
import t from 'tap'
import { appWith, metric, rawUpstream, upstream } from './upstreams.ts'

const ONE_ATTEMPT = { retry: false } as const

function poolsOf(app: Awaited<ReturnType<typeof appWith>>): { active: number }[] {
  return (app.vitals.views.get('pools')!.read() as { pools: { active: number }[] }).pools
}

t.test('an answer has status, headers, body, origin, attempts and times', async (t) => {
  const up = await upstream(t, (request, response) => {
    response.writeHead(201, { 'content-type': 'application/json', 'x-list': ['a', 'b'] })
    response.end(JSON.stringify({ method: request.method, url: request.url }))
  })
  const app = await appWith(t, up)
  const answer = await app.httpClient('up').request({
    method: 'post',
    path: '/orders?a=1',
    headers: { 'X-Mine': 'yes', 'x-none': undefined },
    body: '{}'
  })
  t.equal(answer.status, 201)
  t.strictSame(await answer.body.json(), { method: 'POST', url: '/orders?a=1' })
  t.equal(answer.headers['content-type'], 'application/json')
  t.equal(answer.origin, up.origin)
  t.equal(answer.attempts, 1)
  t.equal(up.requests[0]!.headers['x-mine'], 'yes')
  const { queueMs, connectMs, firstByteMs, bodyMs, totalMs } = answer.timings
  for (const ms of [queueMs, connectMs, firstByteMs, bodyMs, totalMs]) t.ok(ms! >= 0, `${ms} ms`)
  t.ok(totalMs >= firstByteMs)
})

t.test('a query is added to the path, without what is undefined', async (t) => {
  const up = await upstream(t, (request, response) => void response.end(request.url))
  const app = await appWith(t, up)
  const query = { q: 'a b&c', tags: ['x', 'y'], none: undefined, zero: 0 }
  const { body } = await app.httpClient('up').request({ path: '/find?first=1', query })
  t.equal(await body.text(), '/find?first=1&q=a%20b%26c&tags=x&tags=y&zero=0')
})

t.test('redirects and failures are answers: nothing is followed, nothing is thrown', async (t) => {
  const up = await upstream(t, (request, response) => {
    response.writeHead(request.url === '/moved' ? 302 : 500, { location: '/elsewhere' }).end('so')
  })
  const app = await appWith(t, up)
  for (const [path, status] of [
    ['/moved', 302],
    ['/broken', 500]
  ] as const) {
    const answer = await app.httpClient('up').request({ path })
    t.equal(answer.status, status)
    t.equal(await answer.body.text(), 'so')
  }
  t.equal(up.requests.length, 2)
})

t.test('the first byte and the body are measured apart', async (t) => {
  const up = await upstream(t, async (_request, response) => {
    await wait(60)
    response.write('begin')
    await wait(120)
    response.end('end')
  })
  const app = await appWith(t, up)
  const { body, timings } = await app.httpClient('up').request({ path: '/' })
  t.equal(timings.bodyMs, undefined, 'not known before it ended')
  await body.text()
  t.ok(timings.firstByteMs >= 55)
  t.ok(timings.bodyMs! >= 110)
})

t.test('what upstreams do wrong has a code, a status and a cause', async (t) => {
  const garbage = (bytes: string, cut = false) =>
    rawUpstream(t, (socket) => void (cut ? socket.end(bytes) : socket.write(bytes)))
  const cases = [
    ['VITALS_UPSTREAM_NONSENSE', 502, await garbage('this is no HTTP\r\n\r\n')],
    ['VITALS_UPSTREAM_NONSENSE', 502, await garbage('HTTP/1.1 abc OK\r\n\r\n')],
    [
      'VITALS_UPSTREAM_NONSENSE',
      502,
      await garbage('HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n')
    ],
    [
      'VITALS_UPSTREAM_NONSENSE',
      502,
      await garbage(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(70_000)}\r\n\r\n`)
    ],
    [
      'VITALS_UPSTREAM_NONSENSE',
      502,
      await garbage('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n')
    ],
    [
      'VITALS_UPSTREAM_TRUNCATED',
      502,
      await garbage('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf', true)
    ],
    [
      'VITALS_UPSTREAM_TRUNCATED',
      502,
      await garbage('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n', true)
    ],
    [
      'VITALS_UPSTREAM_TRUNCATED',
      502,
      await garbage('HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10\r\n\r\nhalf', true)
    ],
    ['VITALS_UPSTREAM_RESET', 502, await rawUpstream(t, (socket) => socket.resetAndDestroy())],
    ['VITALS_UPSTREAM_RESET', 502, await rawUpstream(t, (socket) => socket.end())],
    ['VITALS_UPSTREAM_UNREACHABLE', 502, { origin: `http://127.0.0.1:${await freePort()}` }],
    ['VITALS_UPSTREAM_UNREACHABLE', 502, { origin: 'http://no-such-host.invalid' }],
    ['VITALS_UPSTREAM_HEADERS_TIMEOUT', 504, await garbage('')],
    [
      'VITALS_UPSTREAM_BODY_TIMEOUT',
      504,
      await garbage('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf')
    ],
    [
      'VITALS_UPSTREAM_TOO_LARGE',
      502,
      await garbage(`HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n${'y'.repeat(2000)}`)
    ]
  ] as const
  await Promise.all(
    cases.map(async ([code, statusCode, up]) => {
      const limits = { headersTimeoutMs: 300, bodyTimeoutMs: 300, maxResponseBytes: 1000 }
      const app = await appWith(t, up, { ...ONE_ATTEMPT, ...limits })
      const call = app.httpClient('up').request({ path: '/' })
      const error = await call.then(async ({ body }) => await body.text()).catch((e: unknown) => e)
      t.match(error, { code, statusCode, client: 'up', origin: up.origin }, code)
      t.ok((error as Error).cause instanceof Error, 'with its cause')
    })
  )
})

t.test('an error that nobody catches becomes the answer of the route', async (t) => {
  const up = await rawUpstream(t, (socket) => void socket.write('nonsense\r\n\r\n'))
  const app = await appWith(t, up)
  app.get('/', async () => await app.httpClient('up').request({ path: '/' }))
  const answer = await app.inject('/')
  t.equal(answer.statusCode, 502)
  t.equal(answer.json().code, 'VITALS_UPSTREAM_NONSENSE')
})

t.test('calls that make no sense are refused before anything is sent', async (t) => {
  const up = await upstream(t, (_request, response) => void response.end())
  const app = await appWith(t, up)
  const calls = [
    { path: 'no-slash' },
    { path: 'http://elsewhere.example/' },
    { path: '/a b' },
    { path: '/', method: 'CONNECT' },
    { path: '/', method: 'NO SUCH' },
    { path: '/', method: 'PUT', body: {} as string },
    { path: '/', headers: { bad: Symbol('x') as unknown as string } },
    { path: '/', query: { bad: Symbol('x') as unknown as string } },
    { path: '/', timeoutMs: 0 },
    { path: '/', timeoutMs: NaN },
    { path: '/', signal: {} as AbortSignal },
    { path: '/', retry: { methods: 'GET' as unknown as string[] } },
    { path: '/', retry: { maxAttempts: 0 } },
    { path: '/', hedge: { delayMs: 'soon' as 'p95' } },
    { path: '/', headers: { 'bad name': 'x' } },
    { path: '/', headers: { bad: 'a\r\nb: c' } },
    { path: '/', headers: { 'transfer-encoding': 'chunked' } },
    { path: '/', method: 'POST', body: 'abc', headers: { 'content-length': '5' } },
    {} as { path: string },
    undefined as unknown as { path: string }
  ]
  for (const call of calls) {
    await t.rejects(
      app.httpClient('up').request(call),
      { code: 'VITALS_CALL_INVALID', statusCode: 500 },
      JSON.stringify(call)
    )
  }
  t.equal(up.requests.length, 0)
  t.equal(app.breakers.list()[0]!.state, 'closed', 'and nobody is blamed')
  t.equal(app.breakers.list()[0]!.figures.windowFailures, 0)
  t.equal(poolsOf(app)[0]!.active, 0, 'and no place is lost')
})

t.test('bodies: text, bytes, streams and functions arrive whole', async (t) => {
  const up = await upstream(t, (request, response) => void request.pipe(response))
  const app = await appWith(t, up)
  const bodies = [
    'text',
    Buffer.from('text'),
    new Uint8Array(Buffer.from('text')),
    Readable.from(['te', 'xt']),
    () => 'text',
    async () => Readable.from([Buffer.from('text')])
  ]
  for (const body of bodies) {
    const answer = await app.httpClient('up').request({ method: 'PUT', path: '/', body })
    t.equal(await answer.body.text(), 'text')
  }
})

t.test(
  'a body function that throws fails the call, and a stream that is not sent is closed',
  async (t) => {
    const up = await upstream(t, (_request, response) => void response.end())
    const app = await appWith(t, up)
    const broken = () => {
      throw new Error('no body today')
    }
    const client = app.httpClient('up')
    await t.rejects(client.request({ method: 'PUT', path: '/', body: broken }), {
      message: 'no body today'
    })
    t.equal(metric(app, 'http_client_requests_total', { result: 'invalid' }), 1)
    const stream = Readable.from(['never'])
    await t.rejects(client.request({ method: 'PUT', path: 'no-slash', body: stream }))
    t.ok(stream.destroyed)
    const aborted = Readable.from(['never'])
    app.breakers.get(`up ${up.origin}`)!.force('open')
    await t.rejects(client.request({ method: 'PUT', path: '/', body: aborted }), {
      code: 'VITALS_BREAKER_OPEN'
    })
    t.ok(aborted.destroyed)
    t.equal(up.requests.length, 0)
  }
)

t.test('an answer may be left in any way without an uncaught exception', async (t) => {
  const up = await upstream(t, (_request, response) => void response.write('x'.repeat(100_000)))
  const app = await appWith(t, up, ONE_ATTEMPT)
  const client = app.httpClient('up')
  ;(await client.request({ path: '/' })).body.destroy()
  ;(await client.request({ path: '/' })).body.destroy(new Error('enough'))
  await client.request({ path: '/', timeoutMs: 50 })
  const { body } = await client.request({ path: '/', timeoutMs: 50 })
  body.pause()
  await eventually(() => poolsOf(app)[0]!.active === 0)
})
