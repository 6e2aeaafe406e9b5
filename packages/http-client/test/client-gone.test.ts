import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { ClientRequest } from 'node:http'
import { connect } from 'node:http2'
import { setTimeout as wait } from 'node:timers/promises'
import { eventually } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import t from 'tap'
import { httpClient } from '../src/index.ts'
import { appWith, metric, upstream } from './upstreams.ts'

function get(url: string): ClientRequest {
  const client = httpRequest(url)
  client.on('error', () => {})
  client.end()
  return client
}

t.test('calls end when the client goes away that they are made for', async (t) => {
  const up = await upstream(t, (request, response) => {
    if (request.url === '/body') response.write('some')
  })
  const app = await appWith(t, up, { retry: false, breaker: { consecutiveFailures: 1 } })
  const errors: unknown[] = []
  app.get('/', async () => {
    const client = app.httpClient('up')
    const calls = ['/headers', '/body', ...Array.from({ length: 20 }, () => '/more')].map(
      async (path) => await (await client.request({ path })).body.text()
    )
    for (const { reason } of (await Promise.allSettled(calls)) as PromiseRejectedResult[]) {
      errors.push(reason)
    }
    await client.request({ path: '/after' }).catch((error: unknown) => errors.push(error))
  })
  const warnings: unknown[] = []
  const onWarning = (warning: unknown): void => void warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const client = get(await app.listen({ port: 0, host: '127.0.0.1' }))
  await eventually(() => up.requests.length === 22)
  client.destroy()
  await eventually(() => errors.length === 23 && up.abandoned.length === 22)
  for (const error of errors) {
    t.match(error, { code: 'VITALS_CALL_ABORTED', cause: { code: 'VITALS_CLIENT_GONE' } })
  }
  t.equal(up.requests.length, 22, 'the one begun after that is never sent')
  t.equal(app.breakers.list()[0]!.state, 'closed')
  t.strictSame(warnings, [], 'and there are not too many listeners')
})

t.test('over HTTP/2 as well', async (t) => {
  const up = await upstream(t, () => {})
  const app = Fastify({ http2: true })
  await app.register(httpClient, { clients: { up: { origins: [up.origin] } }, closeGraceMs: 0 })
  t.teardown(async () => await app.close())
  app.get('/', async () => await app.httpClient('up').request({ path: '/' }))
  const session = connect(await app.listen({ port: 0, host: '127.0.0.1' }))
  t.teardown(() => session.destroy())
  const stream = session.request({ ':path': '/' })
  stream.on('error', () => {})
  await eventually(() => up.requests.length === 1)
  stream.close(8)
  await eventually(() => up.abandoned.length === 1)
})

t.test('they go on after the answer, and where that is what is wanted', async (t) => {
  const up = await upstream(t, async (_request, response) => {
    await wait(50)
    response.end('ok')
  })
  const ended: string[] = []
  for (const wanted of ['answered', 'injected', 'wanted', 'unfollowed']) {
    const client = { retry: false, abortWithRequest: wanted !== 'wanted' } as const
    const app = await appWith(t, up, client, { followRequests: wanted !== 'unfollowed' })
    app.get('/', async () => {
      const call = app
        .httpClient('up')
        .request({ path: '/' })
        .then(async ({ body }) => await body.text())
        .then(() => ended.push(wanted))
      if (wanted !== 'answered') await call
      return 'ok'
    })
    const before = up.requests.length
    if (wanted === 'injected') {
      t.equal((await app.inject('/')).statusCode, 200)
    } else {
      const incoming = get(await app.listen({ port: 0, host: '127.0.0.1' }))
      if (wanted === 'answered') await once(incoming, 'response')
      await eventually(() => up.requests.length > before)
      incoming.destroy()
    }
    await eventually(() => ended.includes(wanted))
    t.equal(metric(app, 'http_client_requests_total', { result: 'success' }), 1, wanted)
  }
})
