import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { eventually, promtoolCheck, skipOrFail, startPrometheus } from '@fastify-vitals/testing'
import t from 'tap'
import { addressOf, run, stopAll } from './shop-runs.ts'

t.teardown(stopAll)

t.test('a request that is under way is finished before the shop stops', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const shop = run('main.ts', [], { PORT: '0', ADMIN_TOKEN: 'x' })
    const address = await addressOf(shop)
    await fetch(`${address}/admin/faults/slow-query`, {
      method: 'PUT',
      headers: { authorization: 'Bearer x', 'content-type': 'application/json' },
      body: '{"enabled":true,"delay_ms":500}'
    })
    const answer = fetch(`${address}/products/search?q=lamp`)
    await new Promise((resolve) => setTimeout(resolve, 150))
    shop.child.kill(signal)
    t.equal((await answer).status, 200, signal)
    t.equal(await shop.code, 0, shop.output())
  }
})

t.test('settings that are wrong are named, with what is allowed', async (t) => {
  const bad: [Record<string, string>, RegExp][] = [
    [{ PORT: 'abc' }, /PORT must be a whole number from 0 to 65535, got "abc"/],
    [{ PORT: '99999' }, /PORT/],
    [{ LOG_LEVEL: 'loud' }, /LOG_LEVEL must be one of fatal, .*got "loud"/],
    [{ DATABASE_URL: 'mysql://u:secret@h/x' }, /DATABASE_URL must be a URL like postgres/]
  ]
  for (const [env, message] of bad) {
    const shop = run('main.ts', [], env)
    t.equal(await shop.code, 1)
    t.match(shop.output(), message)
    t.notMatch(shop.output(), 'secret')
  }
})

t.test('a port that is in use is told', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const shop = run('main.ts', [], { PORT: String(port) })
  t.equal(await shop.code, 1)
  t.match(shop.output(), /the port is in use; choose another one with PORT/)
  server.close()
})

t.test('a real Prometheus scrapes the shop, and agrees with its own figures', async (t) => {
  const shop = run('main.ts', [], { PORT: '0', ADMIN_TOKEN: 'x' })
  t.teardown(async () => {
    shop.child.kill()
    await shop.code
  })
  const address = await addressOf(shop)
  const checked = promtoolCheck(await (await fetch(`${address}/metrics`)).text())
  const prometheus = await startPrometheus(Number(new URL(address).port))
  if (checked === undefined || prometheus === undefined)
    return skipOrFail(t, 'Prometheus is not installed')
  t.teardown(async () => {
    await prometheus.stop()
  })
  t.same(checked, { code: 0, output: '' })
  const selector = '{method="GET",route="/products/:id"}'
  // a rate needs a first scrape that has the series already
  await fetch(`${address}/products/1`)
  await eventually(
    async () =>
      await prometheus.query(
        `http_request_duration_seconds_count${selector} == 1 or histogram_count(http_request_duration_seconds${selector}) == 1`
      ),
    15_000
  )
  for (let i = 0; i < 400; i++) await fetch(`${address}/products/${1 + i}`)
  const view = await fetch(`${address}/admin/views/endpoints`, {
    headers: { authorization: 'Bearer x' }
  })
  const { endpoints } = (await view.json()) as {
    endpoints: { route: string; request_count: number; p95_ms: number; p50_ms: number }[]
  }
  const ours = endpoints.find(({ route }) => route === '/products/:id')!
  t.equal(ours.request_count, 401)
  const count = await eventually(async () => {
    const seen = await prometheus.query(`histogram_count(http_request_duration_seconds${selector})`)
    return seen === 401 && seen
  }, 15_000)
  t.equal(count, 401, 'native histograms are scraped')
  for (const [quantile, ms] of [
    [0.5, ours.p50_ms],
    [0.95, ours.p95_ms]
  ] as const) {
    const answer = await prometheus.query(
      `histogram_quantile(${quantile}, http_request_duration_seconds${selector})`
    )
    // schema 4: buckets are 4.4 % wide, and PromQL interpolates inside one
    t.ok(
      Math.abs(answer! * 1000 - ms) / ms <= 0.05,
      `p${quantile * 100}: ${answer! * 1000} and ${ms}`
    )
  }
  const rate = await prometheus.query(
    `histogram_count(increase(http_request_duration_seconds${selector}[5m]))`
  )
  t.ok(rate! >= 400 * 0.9, `increase ${rate}`)
})
