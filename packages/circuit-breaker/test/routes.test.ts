import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { Readable, Transform } from 'node:stream'
import type { TransformCallback } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { eventually, rawExchange, served } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyServerOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import plugin from '../src/index.ts'
import type { BreakerControl, CircuitBreakerOptions, RouteBreakerOptions } from '../src/index.ts'

const OPENS_AT_ONCE = { consecutiveFailures: 1, openMs: 30_000, jitterRatio: 0 }
const OPENS_FOR_A_MOMENT = {
  consecutiveFailures: 1,
  openMs: 20,
  jitterRatio: 0,
  halfOpenProbes: 1
}

async function appWith(
  t: Test,
  options: CircuitBreakerOptions = {},
  server: FastifyServerOptions = {}
): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true, ...server })
  await app.register(plugin, { logTransitions: false, ...options })
  t.teardown(async () => {
    await app.close()
  })
  return app
}

/** A route that does as its switch says. */
interface Switched {
  readonly breaker: BreakerControl
  calls: number
  act: (reply: FastifyReply) => unknown
}

function switched(
  app: FastifyInstance,
  options: RouteBreakerOptions | true,
  url: string = '/a'
): Switched {
  app.get(url, { config: { circuitBreaker: options } }, async (_request, reply) => {
    route.calls++
    return await route.act(reply)
  })
  const route: Switched = { breaker: app.breakers.get(`GET ${url}`)!, calls: 0, act: () => 'good' }
  return route
}

function fail(): never {
  throw new Error('bad')
}

/** Passes on what it gets, a while later. */
class Slow extends Transform {
  override _transform(chunk: unknown, _encoding: string, done: TransformCallback): void {
    setTimeout(() => done(null, chunk), 60)
  }
}

interface Answer {
  readonly status: number
  readonly type: string | null
  readonly retryAfter: string | null
  readonly body: string
}

async function ask(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init)
  const { status, headers } = response
  const body = await response.text()
  return { status, type: headers.get('content-type'), retryAfter: headers.get('retry-after'), body }
}

/** A request whose client goes away when told, and that is under way when this returns. */
async function leaving(port: number, bytes: string): Promise<{ leave: () => void }> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(bytes)
  return { leave: () => socket.destroy() }
}

const GET_A = 'GET /a HTTP/1.1\r\nhost: x\r\n\r\n'

t.test(
  'an open route answers 503 as problem+json with Retry-After, and calls no handler',
  async (t) => {
    const app = await appWith(t)
    const route = switched(app, OPENS_AT_ONCE)
    const { origin } = await served(app)
    route.act = fail
    t.equal((await ask(`${origin}/a`)).status, 500)
    const { status, type, retryAfter, body } = await ask(`${origin}/a`)
    t.same([status, type, retryAfter], [503, 'application/problem+json; charset=utf-8', '30'])
    t.same(JSON.parse(body), {
      type: 'about:blank',
      title: 'Service Unavailable',
      status: 503,
      detail: 'the circuit breaker "GET /a" is open',
      code: 'VITALS_BREAKER_OPEN',
      retry_after_seconds: 30
    })
    t.equal(route.calls, 1)
  }
)

t.test(
  'a handler that takes too long is answered for with 504, told to stop, and heard no more',
  async (t) => {
    const app = await appWith(t)
    const reasons: unknown[] = []
    app.get('/a', { config: { circuitBreaker: { timeoutMs: 30 } } }, async (request) => {
      const { signal } = request.breakerCall!
      await once(signal, 'abort')
      reasons.push(signal.reason)
      return 'too late'
    })
    const { origin } = await served(app)
    const { status, type, body } = await ask(`${origin}/a`)
    t.same([status, type], [504, 'application/problem+json; charset=utf-8'])
    t.match(JSON.parse(body), {
      status: 504,
      title: 'Gateway Timeout',
      code: 'VITALS_BREAKER_TIMEOUT'
    })
    t.match(reasons, [{ code: 'VITALS_BREAKER_TIMEOUT' }])
    await eventually(() => app.breakers.get('GET /a')!.figures.running === 0)
    t.match(app.breakers.get('GET /a')!.figures.totals, { timeout: 1, success: 0, failure: 0 })
  }
)

t.test('a handler that fails after its time-out fails unheard', async (t) => {
  const app = await appWith(t)
  const route = switched(app, { timeoutMs: 10 })
  route.act = async () => await wait(30).then(fail)
  const { origin } = await served(app)
  t.equal((await ask(`${origin}/a`)).status, 504)
  await eventually(() => route.breaker.figures.running === 0)
})

t.test(
  'error handlers of the app, a scope or a route shape refusals and time-outs themselves',
  async (t) => {
    const app = await appWith(t)
    const shape = (
      error: Error & { code?: string },
      _request: unknown,
      reply: FastifyReply
    ): void => {
      void reply.code(599).send({ mine: error.code ?? error.message })
    }
    const route = (scope: FastifyInstance, url: string, errorHandler?: typeof shape): void => {
      scope.get(
        url,
        {
          config: { circuitBreaker: { ...OPENS_AT_ONCE, timeoutMs: 20 } },
          ...(errorHandler === undefined ? {} : { errorHandler })
        },
        async () => await wait(60)
      )
    }
    await app.register(async (scope) => {
      scope.setErrorHandler(shape)
      route(scope, '/scope')
    })
    route(app, '/route', shape)
    route(app, '/plain')
    const { origin } = await served(app)
    for (const url of ['/scope', '/route']) {
      t.match(await ask(origin + url), { status: 599, body: '{"mine":"VITALS_BREAKER_TIMEOUT"}' })
      t.match(await ask(origin + url), { status: 599, body: '{"mine":"VITALS_BREAKER_OPEN"}' })
    }
    t.match(await ask(`${origin}/plain`), { status: 504, type: /problem\+json/ })
    t.match(await ask(`${origin}/plain`), { status: 503, type: /problem\+json/ })
  }
)

t.test('a route recovers by itself when its handler is well again', async (t) => {
  const app = await appWith(t)
  const route = switched(app, OPENS_FOR_A_MOMENT)
  const { origin } = await served(app)
  route.act = fail
  await ask(`${origin}/a`)
  t.equal((await ask(`${origin}/a`)).status, 503)
  await eventually(() => route.breaker.state === 'half_open')
  await ask(`${origin}/a`)
  t.equal(route.breaker.state, 'open', 'a failed probe opens it again')
  route.act = () => 'good'
  await eventually(() => route.breaker.state === 'half_open')
  t.match(await ask(`${origin}/a`), { status: 200, body: 'good' })
  t.equal(route.breaker.state, 'closed')
})

t.test('answers from 500 on are failures, others are not, however they are given', async (t) => {
  const app = await appWith(t)
  const route = switched(app, true)
  const { origin } = await served(app)
  const status = (code: number) => async (): Promise<never> =>
    await Promise.reject(Object.assign(new Error('e'), { statusCode: code }))
  const acts: [Switched['act'], number][] = [
    [() => 'good', 200],
    [(reply) => reply.code(404).send('none'), 404],
    [status(429), 429],
    [(reply) => reply.callNotFound(), 404],
    [(reply) => reply.redirect('/b'), 302],
    [(reply) => reply.code(204).send(), 204],
    [(reply) => reply.send(Readable.from(['some', 'thing'])), 200],
    [fail, 500],
    [status(503), 503],
    [(reply) => reply.code(502).send('down'), 502],
    [(reply) => reply.code(500).send(Readable.from(['x'])), 500]
  ]
  for (const [act, wanted] of acts) {
    route.act = act
    t.equal((await ask(`${origin}/a`, { redirect: 'manual' })).status, wanted)
  }
  await eventually(() => route.breaker.figures.running === 0)
  t.match(route.breaker.figures, { windowCalls: 11, windowFailures: 4 })
  t.match(route.breaker.figures.totals, { success: 7, failure: 4 })
})

t.test(
  'handlers that answer by callback, return at once, or throw at once are counted as well',
  async (t) => {
    const app = await appWith(t)
    const config = { circuitBreaker: true }
    app.get('/callback', { config }, (_request, reply) => {
      setTimeout(() => void reply.send('later'), 5)
    })
    app.get('/sync', { config }, (_request, reply) => reply.send('now'))
    app.get('/throws', { config }, () => fail())
    app.get('/timed', { config: { circuitBreaker: { timeoutMs: 10 } } }, (_request, reply) => {
      setTimeout(() => void reply.send('too late'), 40)
    })
    const { origin } = await served(app)
    t.match(await ask(`${origin}/callback`), { status: 200, body: 'later' })
    t.match(await ask(`${origin}/sync`), { status: 200, body: 'now' })
    t.equal((await ask(`${origin}/throws`)).status, 500)
    t.equal((await ask(`${origin}/timed`)).status, 504)
    await wait(50)
    const totals = (name: string): unknown => app.breakers.get(name)!.figures.totals
    t.match(totals('GET /callback'), { success: 1 })
    t.match(totals('GET /sync'), { success: 1 })
    t.match(totals('GET /throws'), { failure: 1 })
    t.match(totals('GET /timed'), { timeout: 1, success: 0 })
    for (const { figures } of app.breakers.list()) t.equal(figures.running, 0)
  }
)

t.test('a fallback answers for refusals and time-outs, and sets what it likes', async (t) => {
  const app = await appWith(t)
  const reasons: unknown[] = []
  const route = switched(app, {
    ...OPENS_AT_ONCE,
    timeoutMs: 20,
    fallback: async (error, request, reply) => {
      reasons.push((error as { code: string }).code)
      reply.code(203).header('x-from', request.url)
      return { from: 'fallback' }
    }
  })
  route.act = async () => await wait(60)
  const { origin } = await served(app)
  for (let i = 0; i < 2; i++) {
    t.match(await ask(`${origin}/a`), { status: 203, body: '{"from":"fallback"}' })
  }
  t.same(reasons, ['VITALS_BREAKER_TIMEOUT', 'VITALS_BREAKER_OPEN'])
  t.match(route.breaker.figures.totals, { timeout: 1, rejected: 1, fallback: 2, success: 0 })
})

t.test('a handler that ends while the fallback still works is not heard', async (t) => {
  const app = await appWith(t)
  const route = switched(app, { timeoutMs: 20, fallback: async () => await wait(80, 'fallback') })
  const { origin } = await served(app)
  route.act = async () => await wait(40, 'handler')
  t.match(await ask(`${origin}/a`), { status: 200, body: 'fallback' })
  route.act = async () => await wait(40).then(fail)
  t.match(await ask(`${origin}/a`), { status: 200, body: 'fallback' })
})

t.test('what a fallback throws goes to the error handling', async (t) => {
  const app = await appWith(t)
  const route = switched(app, {
    ...OPENS_AT_ONCE,
    timeoutMs: 20,
    fallback: (error) => {
      throw error
    }
  })
  route.act = async () => await wait(60)
  const { origin } = await served(app)
  t.match(await ask(`${origin}/a`), { status: 504, type: /^application\/json/ })
  const refused = await ask(`${origin}/a`)
  t.match(refused, { status: 503, retryAfter: '30', type: /^application\/json/ })
  t.equal(route.breaker.figures.totals.fallback, 0)
})

t.test('errors of a breaker that a handler asked carry status and Retry-After', async (t) => {
  const app = await appWith(t)
  const prices = app.breaker('prices', async () => fail(), OPENS_AT_ONCE)
  app.get('/a', async () => await prices.fire())
  const { origin } = await served(app)
  t.equal((await ask(`${origin}/a`)).status, 500)
  t.match(await ask(`${origin}/a`), { status: 503, retryAfter: '30', body: /VITALS_BREAKER_OPEN/ })
})

t.test('a route answers with what was good last, while what it asks is down', async (t) => {
  const app = await appWith(t)
  let isUp = true
  const price = app.breaker('price', async (item: string) => (isUp ? `${item}: 5` : fail()), {
    ...OPENS_AT_ONCE,
    staleMs: 60_000,
    staleKey: (item) => item
  })
  app.get<{ Params: { item: string } }>(
    '/price/:item',
    async ({ params }) => await price.fire(params.item)
  )
  const { origin } = await served(app)
  await ask(`${origin}/price/tea`)
  isUp = false
  for (let i = 0; i < 3; i++)
    t.match(await ask(`${origin}/price/tea`), { status: 200, body: 'tea: 5' })
  t.match(await ask(`${origin}/price/rice`), { status: 503 })
  t.match(price.figures.totals, { stale: 3, failure: 1, rejected: 3 })
})

t.test("HEAD is answered by GET's handler and counts with it, once", async (t) => {
  const app = await appWith(t)
  const route = switched(app, OPENS_AT_ONCE)
  const { origin } = await served(app)
  t.equal((await ask(`${origin}/a`, { method: 'HEAD' })).status, 200)
  t.same(
    app.breakers.list().map(({ name }) => name),
    ['GET /a']
  )
  t.match(route.breaker.figures, { windowCalls: 1 })
  route.act = fail
  await ask(`${origin}/a`, { method: 'HEAD' })
  t.match(await ask(`${origin}/a`, { method: 'HEAD' }), { status: 503, retryAfter: '30', body: '' })
  t.equal((await ask(`${origin}/a`)).status, 503)
})

t.test('a request has a call on routes behind a breaker only', async (t) => {
  const app = await appWith(t)
  const seen: unknown[] = []
  app.get('/plain', async (request) => void seen.push(request.breakerCall))
  app.get('/off', { config: { circuitBreaker: false } }, async (request) => {
    seen.push(request.breakerCall)
  })
  app.get('/on', { config: { circuitBreaker: true } }, async (request) => {
    seen.push(request.breakerCall?.signal.aborted)
  })
  for (const url of ['/plain', '/off', '/on']) t.equal((await app.inject(url)).statusCode, 200)
  t.same(seen, [null, null, false])
  t.same(
    app.breakers.list().map(({ name }) => name),
    ['GET /on']
  )
})

t.test('requests of inject give their places back', async (t) => {
  const app = await appWith(t)
  const route = switched(app, { maxConcurrent: 1, timeoutMs: 20 })
  for (let i = 0; i < 3; i++) t.equal((await app.inject('/a')).statusCode, 200)
  route.act = (reply) => {
    reply.hijack()
    reply.raw.end('taken over')
  }
  t.equal((await app.inject('/a')).statusCode, 200)
  await eventually(() => route.breaker.figures.running === 0)
  t.match(route.breaker.figures.totals, { success: 4, ignored: 0 })
  route.act = async () => await wait(40)
  t.equal((await app.inject('/a')).statusCode, 504)
  t.equal((await app.inject('/a')).statusCode, 503, 'its handler still runs')
  await eventually(() => route.breaker.figures.running === 0)
})

// ---- places of the bulkhead

t.test(
  'a full route answers 503, and a handler keeps its place until it has really ended',
  async (t) => {
    const app = await appWith(t)
    const route = switched(app, { maxConcurrent: 1, timeoutMs: 20 })
    let most = 0
    let now = 0
    route.act = async () => {
      most = Math.max(most, ++now)
      await wait(80)
      now--
    }
    const { origin } = await served(app)
    t.equal((await ask(`${origin}/a`)).status, 504)
    const refused = await ask(`${origin}/a`)
    t.match(refused, { status: 503, retryAfter: '1' })
    t.match(JSON.parse(refused.body), { code: 'VITALS_BULKHEAD_FULL', retry_after_seconds: 1 })
    await eventually(() => route.breaker.figures.running === 0)
    t.equal((await ask(`${origin}/a`)).status, 504)
    t.equal(most, 1)
    t.equal(route.breaker.figures.windowCalls, 2, 'refusals say nothing of the handler')
  }
)

t.test(
  'a client that leaves tells nothing, stops the handler, and its place is free',
  async (t) => {
    const app = await appWith(t)
    const route = switched(app, { maxConcurrent: 1, consecutiveFailures: 1 })
    const reasons: unknown[] = []
    app.addHook('preHandler', async (request) => {
      route.act = async () => {
        const { signal } = request.breakerCall!
        await once(signal, 'abort')
        reasons.push(signal.reason)
        throw signal.reason
      }
    })
    const { port } = await served(app)
    for (let i = 1; i <= 3; i++) {
      const { leave } = await leaving(port, GET_A)
      await eventually(() => route.calls === i)
      leave()
      await eventually(() => route.breaker.figures.running === 0)
    }
    t.equal(reasons.length, 3)
    t.match(reasons[0], { code: 'VITALS_CLIENT_GONE' })
    t.equal(route.breaker.state, 'closed')
    t.match(route.breaker.figures, { windowCalls: 0, totals: { ignored: 3, failure: 0 } })
  }
)

t.test('a client that leaves before the handler begins takes no place for ever', async (t) => {
  const app = await appWith(t)
  let waiting = 0
  let goOn = (): void => {}
  app.addHook('preHandler', async () => {
    waiting++
    await new Promise<void>((resolve) => (goOn = resolve))
  })
  const route = switched(app, { maxConcurrent: 1 })
  const { port } = await served(app)
  const closed: unknown[] = []
  app.server.on('connection', (socket) => socket.on('close', () => closed.push(socket)))
  for (let i = 1; i <= 3; i++) {
    const { leave } = await leaving(port, GET_A)
    await eventually(() => waiting === i)
    leave()
    await eventually(() => closed.length === i)
    await wait(5)
    goOn()
    await eventually(() => route.calls === i)
    await eventually(() => route.breaker.figures.running === 0)
  }
  t.equal(route.breaker.figures.running, 0)
})

t.test('a probe whose client leaves is given back', async (t) => {
  const app = await appWith(t)
  const route = switched(app, OPENS_FOR_A_MOMENT)
  const { origin, port } = await served(app)
  route.act = fail
  await ask(`${origin}/a`)
  await eventually(() => route.breaker.state === 'half_open')
  route.act = async () => await wait(30)
  const { leave } = await leaving(port, GET_A)
  await eventually(() => route.calls === 2)
  t.equal((await ask(`${origin}/a`)).status, 503)
  leave()
  await eventually(() => route.breaker.figures.totals.ignored === 1)
  t.equal((await ask(`${origin}/a`)).status, 200)
  t.equal(route.breaker.state, 'closed')
})

t.test(
  'requests that wait behind another one on their connection end with it, without a warning',
  async (t) => {
    const warnings: Error[] = []
    const onWarning = (warning: Error): void => void warnings.push(warning)
    process.on('warning', onWarning)
    t.teardown(() => process.off('warning', onWarning))
    const app = await appWith(t)
    const route = switched(app, true)
    let goOn = (): void => {}
    const gate = new Promise<void>((resolve) => (goOn = resolve))
    route.act = async () => await gate
    const { port } = await served(app)
    const { leave } = await leaving(port, GET_A.repeat(40))
    await eventually(() => route.breaker.figures.running === 40)
    leave()
    await eventually(() => route.breaker.figures.totals.ignored === 40)
    goOn()
    await eventually(() => route.breaker.figures.running === 0)
    t.same(warnings, [])
  }
)

t.test('a request that had waited, and whose client leaves in its turn, ends once', async (t) => {
  const app = await appWith(t)
  const route = switched(app, true)
  let goOn = (): void => {}
  const gate = new Promise<void>((resolve) => (goOn = resolve))
  route.act = async () => {
    if (route.calls > 1) await gate
    else await eventually(() => route.calls === 2)
  }
  const { port } = await served(app)
  const { leave } = await leaving(port, GET_A.repeat(2))
  await eventually(() => route.breaker.figures.totals.success === 1)
  leave()
  await eventually(() => route.breaker.figures.totals.ignored === 1)
  await wait(5)
  t.equal(route.breaker.figures.running, 1, 'its handler has not ended')
  goOn()
  await eventually(() => route.breaker.figures.running === 0)
})

t.test('a connection that pipelines for long gathers no listeners', async (t) => {
  const app = await appWith(t)
  const route = switched(app, true)
  const listeners: number[] = []
  app.addHook('onRequest', async (request) => {
    listeners.push(request.raw.socket.listenerCount('close'))
  })
  route.act = async () => await wait(1)
  const { port } = await served(app)
  const last = 'GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'
  const answer = await rawExchange(port, GET_A.repeat(60) + last)
  t.equal(answer.split('HTTP/1.1 200').length - 1, 61)
  t.ok(Math.max(...listeners) < 8, `${Math.max(...listeners)} listeners`)
  await eventually(() => route.breaker.figures.running === 0)
})

t.test(
  'a slow reader is not held against the route, and keeps its place while it reads',
  async (t) => {
    const app = await appWith(t)
    const route = switched(app, { timeoutMs: 50, slowCallMs: 40 })
    route.act = (reply) => reply.send(Readable.from(['some', 'thing']).pipe(new Slow()))
    const { origin } = await served(app)
    t.match(await ask(`${origin}/a`), { status: 200, body: 'something' })
    t.match(route.breaker.figures.totals, { success: 1, timeout: 0 })
    t.equal(route.breaker.figures.windowSlowCalls, 0)
    await eventually(() => route.breaker.figures.running === 0)
  }
)

// ---- replies that are taken over

t.test('what a hijacked reply begins to send is its answer', async (t) => {
  const app = await appWith(t)
  const route = switched(app, { timeoutMs: 20 })
  route.act = async (reply) => {
    reply.hijack()
    reply.raw.writeHead(500)
    reply.raw.write('some')
    await wait(50)
    reply.raw.end('thing')
  }
  const { origin } = await served(app)
  t.match(await ask(`${origin}/a`), { status: 500, body: 'something' })
  t.match(route.breaker.figures.totals, { failure: 1, timeout: 0 })
  await eventually(() => route.breaker.figures.running === 0)
})

t.test(
  'a hijacked reply that is silent is left alone, and as a probe it keeps nobody waiting',
  async (t) => {
    const app = await appWith(t)
    const route = switched(app, { ...OPENS_FOR_A_MOMENT, timeoutMs: 20 })
    const { origin, port } = await served(app)
    route.act = fail
    await ask(`${origin}/a`)
    await eventually(() => route.breaker.state === 'half_open')
    route.act = (reply) => {
      reply.hijack()
    }
    const { leave } = await leaving(port, GET_A)
    await eventually(() => route.breaker.figures.totals.ignored === 1)
    route.act = () => 'good'
    t.equal((await ask(`${origin}/a`)).status, 200)
    t.equal(route.breaker.state, 'closed')
    t.equal(route.breaker.figures.running, 1)
    leave()
    await eventually(() => route.breaker.figures.running === 0)
  }
)

t.test('requests over HTTP/2 are judged, and give their places back', async (t) => {
  const app = await appWith(t, {}, { http2: true } as FastifyServerOptions)
  const route = switched(app, { ...OPENS_AT_ONCE, timeoutMs: 500 })
  const { origin } = await served(app)
  const client = connectHttp2(origin)
  t.teardown(() => client.destroy())
  const askHttp2 = async (): Promise<unknown> => {
    const stream = client.request({ ':path': '/a' })
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
    await text(stream)
    return headers[':status']
  }
  t.equal(await askHttp2(), 200)
  route.act = async () => await wait(30)
  const left = client.request({ ':path': '/a' })
  left.on('error', () => {})
  await eventually(() => route.calls === 2)
  left.close(8)
  await eventually(() => route.breaker.figures.totals.ignored === 1)
  route.act = fail
  t.same([await askHttp2(), await askHttp2()], [500, 503])
  await eventually(() => route.breaker.figures.running === 0)
})

t.test('an app that closes answers for handlers that hang', async (t) => {
  const app = await appWith(t, {}, { forceCloseConnections: false })
  const route = switched(app, { timeoutMs: 60_000 })
  route.act = async () => await new Promise(() => {})
  const { origin } = await served(app)
  const answer = ask(`${origin}/a`)
  await eventually(() => route.calls === 1)
  app.breakers.delete('GET /a')
  const { status, body } = await answer
  t.equal(status, 503)
  t.match(JSON.parse(body), { code: 'VITALS_BREAKER_SHUT_DOWN', status: 503 })
})

// ---- options of routes

t.test('routes with bad options are refused when they are declared, by name', async (t) => {
  const app = await appWith(t)
  const declare = (circuitBreaker: unknown) => () => {
    app.get('/bad', { config: { circuitBreaker } as never }, async () => 'x')
  }
  const where = 'config.circuitBreaker of GET /bad'
  t.throws(
    declare('on'),
    /GET \/bad: option "config.circuitBreaker" must be true, false or an object, got "on"/
  )
  t.throws(declare(null), /must be true, false or an object, got null/)
  t.throws(declare({ timeoutMs: -1 }), new RegExp(`${where}: option "timeoutMs" must be .*got -1`))
  t.throws(declare({ timeout: 1 }), new RegExp(`${where}: option "timeout" is unknown; allowed: `))
  t.throws(declare({ isFailure: () => true }), /option "isFailure" is unknown/)
  t.throws(declare({ maxQueue: 1, maxConcurrent: 1 }), /option "maxQueue" is unknown/)
  t.throws(declare({ fallback: 'x' }), /option "fallback" must be a function, got "x"/)
  t.throws(declare({ name: '' }), /option "name"/)
  t.throws(declare({ openMs: 500_000 }), /option "maxOpenMs" must be at least openMs \(500000\)/)
  t.throws(declare({ slowCallMs: 20_000 }), /option "slowCallMs" must be less than timeoutMs/)
  t.same(app.breakers.list(), [])
})

t.test("a route takes the plugin's defaults, but for those that routes don't have", async (t) => {
  const isFailure = (): boolean => false
  const defaults = { ...OPENS_AT_ONCE, isFailure, maxConcurrent: 5, maxQueue: 5 }
  const app = await appWith(t, { defaults })
  const route = switched(app, true)
  route.act = fail
  await app.inject('/a')
  t.equal((await app.inject('/a')).statusCode, 503)
})

t.test('routes may share a breaker by name, when they mean the same', async (t) => {
  const app = await appWith(t)
  const declare = (url: string, circuitBreaker: RouteBreakerOptions): void => {
    app.get(url, { config: { circuitBreaker } }, async () => fail())
  }
  declare('/a', { name: 'shop', ...OPENS_AT_ONCE })
  declare('/b', { name: 'shop' })
  declare('/c', { name: 'shop', ...OPENS_AT_ONCE })
  t.throws(
    () => declare('/d', { name: 'shop', openMs: 1 }),
    /"shop" has different options on an earlier route/
  )
  app.breaker('taken', () => 1)
  t.throws(() => declare('/e', { name: 'taken' }), { code: 'VITALS_BREAKER_EXISTS' })
  await app.inject('/a')
  for (const url of ['/a', '/b', '/c']) t.equal((await app.inject(url)).statusCode, 503)
})

t.test('routes of several methods and of scopes have a breaker each', async (t) => {
  const app = await appWith(t)
  const config = { circuitBreaker: true }
  app.route({ method: ['PUT', 'PATCH'], url: '/both', config, handler: async () => 'ok' })
  await app.register(
    async (scope) => {
      scope.post('/items', { config }, async () => 'ok')
      scope.get('/', { config }, async () => 'ok')
    },
    { prefix: '/v1' }
  )
  t.same(
    app.breakers.list().map(({ name }) => name),
    ['PUT,PATCH /both', 'POST /v1/items', 'GET /v1']
  )
  for (const url of ['/v1', '/v1/']) t.equal((await app.inject(url)).statusCode, 200)
  t.equal(app.breakers.get('GET /v1')!.figures.totals.success, 2)
})

t.test('trap: with more than five hundred routes the first still works', async (t) => {
  const app = await appWith(t, { maxBreakers: 1000 })
  const first = switched(app, OPENS_AT_ONCE, '/0')
  for (let i = 1; i < 600; i++) switched(app, true, `/${i}`)
  const { origin } = await served(app)
  for (const i of [0, 1, 500, 501, 599]) t.equal((await ask(`${origin}/${i}`)).status, 200)
  first.act = fail
  await ask(`${origin}/0`)
  t.equal((await ask(`${origin}/0`)).status, 503)
  t.equal((await ask(`${origin}/1`)).status, 200)
})

t.test('trap: one route too many is refused at the start, not at a request', async (t) => {
  const app = await appWith(t)
  for (let i = 0; i < 100; i++) switched(app, true, `/${i}`)
  t.throws(() => switched(app, true, '/100'), {
    code: 'VITALS_BREAKERS_FULL',
    message: /already 100 circuit breakers.*"GET \/100"; raise maxBreakers/
  })
  t.equal((await app.inject('/0')).statusCode, 200)
})
