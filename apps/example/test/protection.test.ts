import { eventually, served } from '@fastify-vitals/testing'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { CLIENT_BURST } from '../src/protection.ts'

const app = await buildApp({ adminToken: 'a-token', logLevel: 'silent' })
t.teardown(() => app.close())
const { origin } = await served(app)

const admin = { authorization: 'Bearer a-token' }

async function fault(name: string, enabled: boolean): Promise<void> {
  const url = `/admin/faults/${name}`
  await app.inject({ method: 'PUT', url, headers: admin, payload: { enabled } })
}

async function view<View>({ vitals }: FastifyInstance, name: string): Promise<View> {
  return (await vitals.views.get(name)!.read()) as View
}

t.test('a visitor who asks too much is told to wait, another one is not', async (t) => {
  const from = async (address: string): Promise<Response> =>
    await fetch(`${origin}/products/1`, { headers: { 'x-forwarded-for': address } })
  const all = await Promise.all(Array.from({ length: 3 * CLIENT_BURST }, () => from('203.0.113.1')))
  const limited = all.filter(({ status }) => status === 429)
  t.ok(limited.length > 0 && limited.length <= 2 * CLIENT_BURST, `${limited.length} limited`)
  t.ok(Number(limited[0]!.headers.get('retry-after')) >= 1)
  t.equal((await from('203.0.113.2')).status, 200)
  const forget = {
    method: 'POST',
    url: '/admin/actions/rate-limit-forget',
    headers: admin
  } as const
  const { statusCode } = await app.inject({ ...forget, payload: { key: '203.0.113.1' } })
  t.equal(statusCode, 200)
  t.equal((await from('203.0.113.1')).status, 200)
  t.match((await app.inject(forget)).json(), { statusCode: 400, message: /give the key/ })
})

t.test('a price service that fails is left alone until it is well', async (t) => {
  let product = 5000
  const quote = async (): Promise<number> => (await app.inject(`/quote/${product++}`)).statusCode
  t.equal(await quote(), 200)
  await fault('failing-upstream', true)
  await eventually(async () => (await quote()) === 503, 10_000)
  const [breaker] = (await view<{ breakers: { name: string; state: string }[] }>(app, 'breakers'))
    .breakers
  t.match(breaker, { state: /open/ })
  await fault('failing-upstream', false)
  await eventually(async () => (await quote()) === 200, 20_000)
  const { pools } = await view<{ pools: { client: string; total: number }[] }>(app, 'pools')
  t.match(pools, [{}])
})

t.test('answers are compressed for those who can read it', async (t) => {
  const response = await fetch(`${origin}/products?limit=100`, {
    headers: { 'accept-encoding': 'gzip' }
  })
  t.equal(response.headers.get('content-encoding'), 'gzip')
  t.match(response.headers.get('vary'), 'accept-encoding')
  const { products } = (await response.json()) as { products: unknown[] }
  t.equal(products.length, 100)
  const { bytes_saved } = await view<{ bytes_saved: number }>(app, 'compression')
  t.ok(bytes_saved > 1000, `${bytes_saved} bytes saved`)
})

t.test('health and figures are there for us whatever happens', async (t) => {
  const asked = Array.from({ length: 5 * CLIENT_BURST }, () =>
    fetch(`${origin}/health`, { headers: { 'x-forwarded-for': '203.0.113.9' } })
  )
  for (const { status } of await Promise.all(asked)) t.equal(status, 200)
})
