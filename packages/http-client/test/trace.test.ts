import { channel } from 'node:diagnostics_channel'
import { setTimeout as wait } from 'node:timers/promises'
import { context, propagation, trace } from '@opentelemetry/api'
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor
} from '@opentelemetry/sdk-trace-node'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { httpClient } from '../src/index.ts'
import { appWith, upstream } from './upstreams.ts'

interface Counted {
  readonly count: number
  readonly parts: { readonly outbound?: number; readonly outbound_queue?: number }
}

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

/** A real SDK, taken down again. */
function startSdk(t: Tap): InMemorySpanExporter {
  const spans = new InMemorySpanExporter()
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
  provider.register()
  t.teardown(async () => {
    trace.disable()
    context.disable()
    propagation.disable()
    await provider.shutdown()
  })
  return spans
}

interface Tap {
  teardown(end: () => unknown): void
}

/** An app whose client `up` is answered the headers that it sent. */
async function echo(t: Tap): Promise<FastifyInstance> {
  const up = await upstream(
    t,
    (request, response) => void response.end(JSON.stringify(request.headers))
  )
  return await appWith(t, up)
}

t.test('trace context and request id are passed on', async (t) => {
  const up = await upstream(
    t,
    (request, response) => void response.end(JSON.stringify(request.headers))
  )
  const app = Fastify({ requestIdHeader: 'x-request-id' })
  await app.register(httpClient, {
    clients: {
      up: { origins: [up.origin] },
      quiet: {
        origins: [up.origin.replace('127.0.0.1', 'localhost')],
        forwardTrace: false,
        requestIdHeader: ''
      }
    }
  })
  t.teardown(async () => await app.close())
  app.get('/:name', async (request) => {
    const { name } = request.params as { name: string }
    const own = request.headers['x-own'] === undefined ? {} : { headers: { Traceparent: 'mine' } }
    return await (await app.httpClient(name).request({ path: '/', ...own })).body.json()
  })
  const traceparent = TRACEPARENT
  const headers = { traceparent, tracestate: 'a=b', 'x-request-id': 'r-1' }
  t.match((await app.inject({ url: '/up', headers })).json(), headers)
  const own = (await app.inject({ url: '/up', headers: { ...headers, 'x-own': '1' } })).json()
  t.equal(own.traceparent, 'mine', 'what the call gives goes first')
  const zeros = `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`
  for (const bad of ['nonsense', zeros, `${traceparent}\u00e9`]) {
    const sent = (await app.inject({ url: '/up', headers: { traceparent: bad } })).json()
    t.equal(sent.traceparent, undefined, bad)
  }
  const quiet = (await app.inject({ url: '/quiet', headers })).json()
  t.notOk('traceparent' in quiet || 'x-request-id' in quiet)
})

t.test('the span that is active where a call is made arrives at the upstream', async (t) => {
  const spans = startSdk(t)
  const up = await upstream(t, (request, response, nth) => {
    // each is asked twice: a retry belongs to the span of its call
    if (nth % 2 === 1) response.writeHead(503).end()
    else response.end(JSON.stringify(request.headers))
  })
  const retry = { baseMs: 1, maxMs: 1, maxAttempts: 20 }
  const app = await appWith(t, up, {
    retry,
    retryBudget: { ratio: 1, minPerSecond: 1000 },
    breaker: false,
    connections: 2
  })
  app.get('/:n', async (request) => {
    const parent = propagation.extract(context.active(), request.headers)
    const tracer = trace.getTracer('test')
    return await tracer.startActiveSpan(request.url, {}, parent, async (span) => {
      const { body } = await app.httpClient('up').request({ path: request.url })
      span.end()
      return await body.json()
    })
  })
  const traceOf = (i: number): string => String(i).padStart(32, 'a')
  const answers = await Promise.all(
    Array.from({ length: 10 }, async (_, i) => {
      const headers = { traceparent: `00-${traceOf(i)}-b7ad6b7169203331-01`, tracestate: `n=${i}` }
      return (await app.inject({ url: `/${i}`, headers })).json<Record<string, string>>()
    })
  )
  for (const [i, { traceparent, tracestate }] of answers.entries()) {
    const span = spans.getFinishedSpans().find(({ name }) => name === `/${i}`)!
    t.equal(span.spanContext().traceId, traceOf(i))
    t.equal(traceparent, `00-${traceOf(i)}-${span.spanContext().spanId}-01`)
    t.equal(tracestate, `n=${i}`)
  }
  const sent = up.requests.map(({ url, headers }) => `${url} ${String(headers['traceparent'])}`)
  t.equal(new Set(sent).size, 10, 'and with all attempts of a call')
})

t.test('what is sampled by nobody is passed on as such, and baggage with it', async (t) => {
  startSdk(t)
  const app = await echo(t)
  const baggage = propagation.createBaggage({ tenant: { value: 'acme' } })
  const spanContext = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 0 }
  const active = propagation.setBaggage(
    trace.setSpanContext(context.active(), spanContext),
    baggage
  )
  const { body } = await context.with(active, () => app.httpClient('up').request({ path: '/' }))
  t.match(await body.json(), {
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00`,
    baggage: 'tenant=acme'
  })
})

t.test('with an SDK the incoming header is not what is passed on', async (t) => {
  startSdk(t)
  const app = await echo(t)
  app.get('/', async () => await (await app.httpClient('up').request({ path: '/' })).body.json())
  const headers = { traceparent: TRACEPARENT }
  const without = (await app.inject({ url: '/', headers })).json()
  t.notOk('traceparent' in without, 'where no span is active, there is none')
})

t.test("undici's instrumentation adds the headers itself, and is left to do so", async (t) => {
  startSdk(t)
  const app = await echo(t)
  const created = channel('undici:request:create')
  const instrument = (message: unknown): void => {
    const { request } = message as { request: { addHeader(name: string, value: string): void } }
    request.addHeader('traceparent', 'of the instrumentation')
  }
  created.subscribe(instrument)
  t.teardown(() => created.unsubscribe(instrument))
  await trace.getTracer('test').startActiveSpan('outer', async (span) => {
    const { body } = await app.httpClient('up').request({ path: '/' })
    t.match(await body.json(), { traceparent: 'of the instrumentation' })
    span.end()
  })
})

t.test('calls are counted on the request they are made for, and never on another', async (t) => {
  const up = await upstream(t, async (_request, response) => {
    await wait(10)
    response.end('ok')
  })
  const app = await appWith(t, up, { connections: 10, maxQueue: 1000, queueTimeoutMs: 10_000 })
  app.get('/:calls', async (request) => {
    const { calls } = request.params as { calls: string }
    for (let i = 0; i < Number(calls); i++) {
      await (await app.httpClient('up').request({ path: '/' })).body.text()
    }
    const record = app.vitals.requests.current()!
    const parts = Object.fromEntries(
      [...record.parts].map(([name, part]) => [name, part.totalMs(performance.now())])
    )
    return { count: record.outboundCount, parts }
  })
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => (await app.inject(`/${i % 4}`)).json<Counted>())
  )
  for (const [i, { count, parts }] of answers.entries()) {
    t.equal(count, i % 4)
    if (count > 0) t.ok(parts.outbound! >= 9 * count, `${parts.outbound} ms for ${count} calls`)
  }
  t.ok(
    answers.some(({ parts }) => parts.outbound_queue! > 1),
    'some waited, apart'
  )
})
