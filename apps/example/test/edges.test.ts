import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { changesOf } from '../src/changes.ts'
import type { EndpointFigures } from '../src/changes.ts'
import { readArguments } from '../src/demo-arguments.ts'
import { Faults } from '../src/faults.ts'
import { Leak } from '../src/leak.ts'
import { Traffic } from '../src/traffic.ts'

const admin = { authorization: 'Bearer a-token' }

t.test('of the shop', async (t) => {
  const app = await buildApp({ adminToken: 'a-token', logLevel: 'silent' })
  t.teardown(async () => {
    await app.close()
  })
  const fault = async (name: string, payload: object) =>
    await app.inject({ method: 'PUT', url: `/admin/faults/${name}`, headers: admin, payload })

  await t.test('what the database could not take is refused before it gets there', async (t) => {
    for (const url of [
      '/products?after=99999999999',
      '/products?category=%00',
      '/products/search?q=a%00b',
      '/products/2147483648',
      '/quote/0'
    ]) {
      t.equal((await app.inject(url)).statusCode, 400, url)
    }
    for (const [customer_id, product_id] of [
      [3e9, 1],
      [1, 3e9]
    ]) {
      const payload = { customer_id, lines: [{ product_id, quantity: 1 }] }
      t.equal((await app.inject({ method: 'POST', url: '/checkout', payload })).statusCode, 400)
    }
  })

  await t.test('a wrong window, and parameters every object has, are refused', async (t) => {
    const url = '/admin/views/endpoints?window_seconds=abc'
    const answer = await app.inject({ url, headers: admin })
    t.match(answer.json(), { statusCode: 400, message: /window_seconds.*got "abc"/ })
    const odd = await fault('slow-query', { enabled: true, constructor: 5 })
    t.match(odd.json(), { statusCode: 400, message: /no parameter "constructor".*delay_ms/ })
  })

  await t.test('the figures tell how many queries a request makes', async (t) => {
    const queries = async (): Promise<number> => {
      await app.inject({ method: 'POST', url: '/admin/actions/reset', headers: admin })
      await app.inject('/customers/42/orders')
      const view = await app.inject({ url: '/admin/views/endpoints', headers: admin })
      const { endpoints } = view.json<{ endpoints: EndpointFigures[] }>()
      return endpoints.find(({ route }) => route === '/customers/:id/orders')!.queries_per_request!
    }
    t.equal(await queries(), 3)
    await fault('n-plus-one', { enabled: true })
    const { orders } = (await app.inject('/customers/42/orders')).json()
    t.equal(await queries(), 2 + 4 * orders.length, 'each order, and each of its three lines')
    await fault('n-plus-one', { enabled: false })
  })

  await t.test('a price that does not come in time is a 504', async (t) => {
    await fault('slow-upstream', { enabled: true, delay_ms: 9000 })
    t.equal((await app.inject('/quote/5')).statusCode, 504)
  })
})

t.test('a leak stays under its limit, whatever its parameters become, and ends', async (t) => {
  const faults = new Faults()
  const leak = new Leak(faults)
  leak.keep()
  t.equal(leak.bytes, 0)
  for (const bytes_per_request of [100_000, 5000]) {
    faults.enable('leak', { bytes_per_request, max_bytes: 250_000 })
    for (let i = 0; i < 30; i++) leak.keep()
  }
  t.equal(leak.bytes, 250_000)
  faults.disable('leak')
  t.equal(leak.bytes, 0)
})

t.test('what got slower is ranked by what it costs all visitors', async (t) => {
  const figures = (route: string, p50_ms: number, requests_per_second: number): EndpointFigures =>
    ({ method: 'GET', route, p50_ms, requests_per_second }) as EndpointFigures
  const before = [
    figures('/a', 1, 1),
    figures('/b', 1, 50),
    figures('/c', 1, 9),
    figures('/d', 0.1, 9)
  ]
  const after = [
    figures('/a', 9, 1),
    figures('/b', 2, 50),
    figures('/c', 1.1, 9),
    figures('/d', 0.3, 9)
  ]
  const changes = changesOf(before, after)
  t.same(
    changes.map(({ after: { route }, costMs }) => [route, costMs]),
    [
      ['/b', 50],
      ['/a', 8]
    ]
  )
})

t.test('arguments of the demo', async (t) => {
  t.same(readArguments([]), { keep: false, help: false, seconds: 10 })
  t.same(readArguments(['--keep', '--seconds', '2']), { keep: true, help: false, seconds: 2 })
  t.throws(() => readArguments(['--nope']), { message: /--nope.*--help/ })
  t.throws(() => readArguments(['more']), { message: /more.*--help/ })
  for (const seconds of ['0', '21', '1.5', 'x']) {
    t.throws(() => readArguments(['--seconds', seconds]), { message: /from 1 to 20/ })
  }
})

t.test('the same seed sends the same visitors, however slow the shop is', async (t) => {
  const seen: string[][] = []
  const server = createServer((request, response) => {
    seen.at(-1)!.push(`${request.method} ${request.url}`)
    setTimeout(() => response.end('{}'), 100)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  for (let run = 0; run < 2; run++) {
    seen.push([])
    const traffic = new Traffic({ origin, ratePerSecond: 200, seed: 3 })
    await traffic.run(0.5)
    t.ok(traffic.counts.sent > 60, `${traffic.counts.sent} sent: they don't wait for each other`)
    await traffic.close()
  }
  t.same(seen[0]!.slice(0, 20), seen[1]!.slice(0, 20))
  server.close()
})
