import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { eventually, promtoolCheck, skipOrFail, startPrometheus } from '@fastify-vitals/testing'
import t from 'tap'

const FLAGS = ['--conditions=@fastify-vitals/source', '--import=./scripts/strip-types.mjs']

interface Run {
  readonly child: ChildProcess
  readonly output: () => string
  readonly code: Promise<number | null>
}

const children: ChildProcess[] = []
// whatever a test that failed left running
t.teardown(() => {
  for (const child of children) child.kill('SIGKILL')
})

function run(file: string, args: readonly string[], env: Record<string, string> = {}): Run {
  const { DATABASE_URL: _, ...inherited } = process.env
  const child = spawn(process.execPath, [...FLAGS, `apps/example/src/${file}`, ...args], {
    env: { ...inherited, ...env }
  })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  return {
    child,
    output: () => output,
    code: once(child, 'exit').then(([code]) => code as number | null)
  }
}

async function addressOf(shop: Run): Promise<string> {
  return await eventually(() => /serving on (\S+)/.exec(shop.output())?.[1], 40_000)
}

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

t.test('the demo ends well and tells what changed', async (t) => {
  const demo = run('demo.ts', ['--seconds', '3'])
  t.equal(await demo.code, 0, demo.output())
  t.match(demo.output(), /slower {2}GET \/customers\/:id\/orders/)
  t.match(demo.output(), /GET \/products\/:id +\d+/)
  t.match(demo.output(), /203\.0\.113\.9 +\d+ +[1-9]\d*\n/)
  t.match(demo.output(), /all other visitors +\d+ +0\n/)
  t.match(demo.output(), /s {2}breaker open: 5 calls in a row failed/)
  t.match(demo.output(), /s {2}breaker closed: its probes succeeded/)
  t.match(demo.output(), /[1-9]\d* kB were not sent/)
  t.match(demo.output(), 'The demo is over')
})

t.test('the demo refuses what it does not know', async (t) => {
  for (const args of [['--seconds', '0'], ['--nope']]) {
    const demo = run('demo.ts', args)
    t.equal(await demo.code, 1)
    t.match(demo.output(), /--seconds must be a whole number from 1 to 20, got "0"|--nope/)
  }
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
