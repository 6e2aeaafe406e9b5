import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { skipOrFail } from '@fastify-vitals/testing'
import type { FastifyInstance } from 'fastify'
import pg from 'pg'
import t from 'tap'
import type { Test } from 'tap'
import { buildApp } from '../src/app.ts'
import { FAULT_NAMES } from '../src/faults.ts'

const TOKEN = 'a-token'
const admin = { authorization: `Bearer ${TOKEN}` }

async function fault(app: FastifyInstance, name: string, payload: object): Promise<number> {
  const url = `/admin/faults/${name}`
  return (await app.inject({ method: 'PUT', url, headers: admin, payload })).statusCode
}

async function timed(
  app: FastifyInstance,
  url: string
): Promise<{ ms: number; statusCode: number }> {
  const startMs = performance.now()
  const { statusCode } = await app.inject(url)
  return { ms: performance.now() - startMs, statusCode }
}

/** Bytes of buffers that are really kept: collects until nothing more is given back. */
async function keptBytes(): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let last = Infinity; ;) {
    collect()
    await wait(50) // what a closed database had is let go a little later
    const { arrayBuffers } = process.memoryUsage()
    if (arrayBuffers >= last) return arrayBuffers
    last = arrayBuffers
  }
}

/** What the shop must do on any database. */
async function conformance(t: Test, app: FastifyInstance): Promise<void> {
  await t.test('products are listed by page and category, found by word, and shown', async (t) => {
    const page = (await app.inject('/products?category=garden&limit=5')).json().products
    t.equal(page.length, 5)
    t.ok(page.every(({ category }: { category: string }) => category === 'garden'))
    const next = (await app.inject(`/products?category=garden&limit=5&after=${page[4].id}`)).json()
      .products
    t.ok(next[0].id > page[4].id)
    const found = (await app.inject('/products/search?q=lamp')).json().products
    t.ok(found.length === 20 && found.every(({ name }: { name: string }) => name.includes('lamp')))
    t.same(
      (await app.inject('/products/search?q=%25%25')).json().products,
      [],
      'a wildcard is just a character'
    )
    t.match((await app.inject('/products/7')).json(), { id: 7, stock: 1_000_000 })
    t.match((await app.inject('/products/99999999')).json(), {
      statusCode: 404,
      message: 'there is no product 99999999'
    })
    t.equal((await app.inject('/products/abc')).statusCode, 400)
  })

  await t.test('the orders of a customer and the report add up', async (t) => {
    const { orders } = (await app.inject('/customers/42/orders')).json()
    t.ok(orders.length > 0 && orders.every(({ lines }: { lines: unknown[] }) => lines.length === 3))
    const { categories } = (await app.inject('/reports/sales')).json()
    t.equal(
      categories.reduce((sum: number, { lines }: { lines: number }) => sum + lines, 0),
      9000
    )
  })

  await t.test('a checkout takes all of it from stock, or nothing', async (t) => {
    const checkout = async (lines: object[], customer_id = 1) =>
      await app.inject({ method: 'POST', url: '/checkout', payload: { customer_id, lines } })
    const good = await checkout([{ product_id: 3, quantity: 2 }])
    t.equal(good.statusCode, 201)
    const stock = async (): Promise<number> => (await app.inject('/products/3')).json().stock
    const before = await stock()
    t.equal(before, 999_998)
    const short = await checkout([
      { product_id: 3, quantity: 1 },
      { product_id: 4, quantity: 2_000_000 }
    ])
    t.match(short.json(), { statusCode: 409, message: 'product 4 is not in stock 2000000 times' })
    t.equal(await stock(), before)
    t.equal((await checkout([{ product_id: 3, quantity: 1 }], 999_999)).statusCode, 404)
    t.equal((await checkout([])).statusCode, 400)
  })

  await t.test('every fault can be switched on and off', async (t) => {
    for (const name of FAULT_NAMES) {
      t.equal(await fault(app, name, { enabled: true }), 200, name)
      t.equal(await fault(app, name, { enabled: false }), 200, name)
    }
  })

  await t.test('each fault does what it says, and is gone when it is off', async (t) => {
    await fault(app, 'slow-query', { enabled: true, delay_ms: 100 })
    t.ok((await timed(app, '/products/search?q=oak')).ms >= 95)
    await fault(app, 'slow-query', { enabled: false })

    await fault(app, 'blocked-event-loop', { enabled: true, block_ms: 80 })
    t.ok((await timed(app, '/products/1')).ms >= 78)
    await fault(app, 'blocked-event-loop', { enabled: false })

    const plain = (await app.inject('/customers/42/orders')).json()
    await fault(app, 'n-plus-one', { enabled: true })
    t.same((await app.inject('/customers/42/orders')).json(), plain, 'slower, but the same')
    await fault(app, 'n-plus-one', { enabled: false })

    await fault(app, 'failing-upstream', { enabled: true })
    t.equal((await timed(app, '/quote/11')).statusCode, 502)
    await fault(app, 'failing-upstream', { enabled: false })
    t.equal((await timed(app, '/quote/11')).statusCode, 200)

    await fault(app, 'slow-upstream', { enabled: true, delay_ms: 100 })
    t.ok((await timed(app, '/quote/12')).ms >= 95)
    t.ok((await timed(app, '/quote/12')).ms < 95, 'from the cache')
    await fault(app, 'cache-never-hits', { enabled: true })
    t.ok((await timed(app, '/quote/12')).ms >= 95)
    await fault(app, 'slow-upstream', { enabled: false })
    await fault(app, 'cache-never-hits', { enabled: false })

    await fault(app, 'small-pool', { enabled: true, size: 1, hold_ms: 30 })
    const waits = await Promise.all(
      [1, 2, 3].map(async (id) => await timed(app, `/products/${id}`))
    )
    t.ok(Math.max(...waits.map(({ ms }) => ms)) >= 85, 'the third waits for two')
    await fault(app, 'small-pool', { enabled: false })

    const before = await keptBytes()
    await fault(app, 'leak', { enabled: true, bytes_per_request: 4_194_304 })
    for (let i = 0; i < 40; i++) await app.inject('/products')
    t.ok((await keptBytes()) - before > 100_000_000)
    await fault(app, 'leak', { enabled: false })
    await app.inject('/products')
    t.ok((await keptBytes()) - before < 50_000_000, 'given back')
  })
}

t.test('on the embedded database', async (t) => {
  const app = await buildApp({ adminToken: TOKEN, logLevel: 'silent' })
  t.teardown(async () => {
    await app.close()
  })
  await conformance(t, app)

  await t.test('figures and faults are for those with the token', async (t) => {
    t.equal((await app.inject('/admin/views')).statusCode, 401)
    t.equal(
      (await app.inject({ url: '/admin/views', headers: { authorization: 'Bearer wrong' } }))
        .statusCode,
      401
    )
    const views = (await app.inject({ url: '/admin/views', headers: admin })).json()
    t.match(
      views.views.map(({ name }: { name: string }) => name),
      ['cardinality', 'runtime', 'requests', 'endpoints']
    )
    const url = '/admin/views/endpoints?window_seconds=60'
    const { endpoints } = (await app.inject({ url, headers: admin })).json()
    t.ok(endpoints.some(({ route }: { route: string }) => route === '/products/:id'))
    t.notOk(endpoints.some(({ route }: { route: string }) => route.startsWith('/admin')))
  })

  await t.test('what does not exist is told with what does', async (t) => {
    t.equal(await fault(app, 'nope', { enabled: true }), 404)
    const { message } = (await app.inject({ url: '/admin/views/x', headers: admin })).json()
    t.match(
      message,
      /^there is no view "x"; there are: cardinality, runtime, .*endpoints, rate_limits/
    )
    t.equal(await fault(app, 'slow-query', { enabled: true, delay_ms: 1e9 }), 400)
    t.equal(await fault(app, 'slow-query', { enabled: true, nope: 1 }), 400)
  })

  await t.test('the exposition has the figures of the routes', async (t) => {
    const { body, headers } = await app.inject('/metrics')
    t.match(headers['content-type'], 'text/plain; version=0.0.4')
    t.match(
      body,
      /http_request_duration_seconds_count\{method="GET",route="\/products\/:id",status_code="200",service="shop"\} \d+/
    )
    t.notMatch(await text(app.vitals.scrape().body), /http_request_duration\S*_UNMATCHED/)
  })
})

t.test('without a token the admin routes are off', async (t) => {
  const app = await buildApp({ logLevel: 'silent' })
  t.match((await app.inject('/admin/views')).json(), { statusCode: 403, message: /ADMIN_TOKEN/ })
  await app.close()
})

t.test('on a PostgreSQL server', async (t) => {
  const databaseUrl = process.env.DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/test'
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 2000 })
  try {
    await client.connect()
  } catch {
    return skipOrFail(t, 'no PostgreSQL at DATABASE_URL or 127.0.0.1:5432')
  }
  const databaseSchema = `shop_${randomBytes(6).toString('hex')}`
  const options = { databaseUrl, databaseSchema, adminToken: TOKEN, logLevel: 'silent' }
  const app = await buildApp(options)
  await conformance(t, app)
  await t.test('starting again finds what is there and fills nothing twice', async (t) => {
    const again = await buildApp(options)
    const { rows } = await client.query(`SELECT count(*)::int AS n FROM ${databaseSchema}.products`)
    t.same(rows, [{ n: 10_000 }])
    await again.close()
  })
  await app.close()
  await client.query(`DROP SCHEMA ${databaseSchema} CASCADE`)
  await client.end()
})
