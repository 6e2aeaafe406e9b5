import { once } from 'node:events'
import { connect } from 'node:net'
import { text as readText } from 'node:stream/consumers'
import metrics from '@fastify-vitals/metrics'
import { eventually, pluginProblems, rawExchange, served } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import rateLimit from '../src/index.ts'
import type { RateLimitOptions } from '../src/index.ts'

interface Limited {
  readonly app: FastifyInstance
  readonly get: (
    path: string,
    headers?: Record<string, string>,
    method?: string
  ) => Promise<Response>
}

/** An app that limits, over a real socket. Slow refill, so that a burst is all there is. */
async function limited(
  t: Test,
  options: RateLimitOptions,
  declare: (app: FastifyInstance) => void = () => {},
  server: FastifyServerOptions = {}
): Promise<Limited> {
  const app = Fastify(server)
  await app.register(rateLimit, options)
  app.get('/', async () => 'home')
  declare(app)
  const { origin } = await served(app)
  t.teardown(() => app.close())
  return {
    app,
    get: (path, headers = {}, method = 'GET') => fetch(origin + path, { headers, method })
  }
}

const ascending = (a: number, b: number): number => a - b

async function statuses(asked: Promise<Response>[]): Promise<number[]> {
  const responses = await Promise.all(asked)
  return responses.map(({ status }) => status).toSorted(ascending)
}

async function inTurn(times: number, ask: () => Promise<Response>): Promise<number[]> {
  const all: number[] = []
  for (let i = 0; i < times; i++) all.push((await ask()).status)
  return all
}

const SLOW = { requestsPerSecond: 0.01 }
const PROXIED: FastifyServerOptions = { trustProxy: 'loopback' }

t.test('a burst is let in, the next request is refused and told when to come again', async (t) => {
  const { get } = await limited(t, { requestsPerSecond: 0.5, burstSize: 3 })
  t.same(await inTurn(3, () => get('/')), [200, 200, 200])
  const refused = await get('/')
  t.equal(refused.status, 429)
  t.equal(refused.headers.get('retry-after'), '2')
  t.equal(refused.headers.get('content-type'), 'application/problem+json; charset=utf-8')
  t.same(await refused.json(), {
    type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
    title: 'Too Many Requests',
    status: 429,
    detail: 'Too many requests. Come again in 2 s.',
    code: 'VITALS_RATE_LIMITED',
    retry_after_seconds: 2,
    'violated-policies': ['default']
  })
})

t.test('of a thousand requests at once exactly the burst is let in', async (t) => {
  const { get } = await limited(t, { ...SLOW, burstSize: 40 })
  const all = await statuses(Array.from({ length: 1000 }, () => get('/')))
  t.equal(all.filter((status) => status === 200).length, 40)
  t.equal(all.filter((status) => status === 429).length, 960)
})

t.test('a fixed window lets exactly its number in, through @fastify/rate-limit', async (t) => {
  const { get } = await limited(t, { policies: [{ max: 30, windowMs: 60_000 }] })
  const all = await statuses(Array.from({ length: 200 }, () => get('/')))
  t.equal(all.filter((status) => status === 200).length, 30)
})

t.test('several fixed windows hold together, and the scarcest is told', async (t) => {
  const minute = { name: 'minute', max: 3, windowMs: 60_000 }
  const hour = { name: 'hour', max: 5, windowMs: 3_600_000 }
  const { get } = await limited(t, { policies: [minute, hour], key: { header: 'x-key' } })
  const ask = async (): Promise<Response> => await get('/', { 'x-key': 'a' })
  t.match((await ask()).headers.get('ratelimit'), /^"minute";r=2;t=/)
  t.same(await inTurn(3, ask), [200, 200, 429])
  t.match(await (await ask()).json(), { 'violated-policies': ['minute'] })

  const dear = await limited(t, { policies: [hour, { ...minute, max: 4 }], cost: 3 })
  t.match((await dear.get('/')).headers.get('ratelimit'), /^"minute";r=1;t=/)
  t.match(await (await dear.get('/')).json(), { 'violated-policies': ['hour'] })
})

t.test(
  'policies of both kinds hold together, and what one grants in vain is given back',
  async (t) => {
    const { get } = await limited(t, {}, (app) => {
      const policies = [
        { name: 'minute', max: 5, windowMs: 60_000 },
        { name: 'burst', requestsPerSecond: 4, burstSize: 2 }
      ]
      app.get('/both', { config: { rateLimit: { policies } } }, async () => 'x')
    })
    t.same(await inTurn(3, () => get('/both')), [200, 200, 429])
    t.match(await (await get('/both')).json(), { 'violated-policies': ['burst'] })
    // had the refused ones been kept, three more would not fit into the minute
    const letIn: number[] = []
    await eventually(async () => {
      const { status } = await get('/both')
      if (status === 200) letIn.push(status)
      return letIn.length === 3
    }, 10_000)
    t.match(await (await get('/both')).json(), { 'violated-policies': ['minute'] })
  }
)

t.test(
  'clients learn their limits in the fields of the current draft and in the older ones',
  async (t) => {
    const policies = [
      { name: 'burst', requestsPerSecond: 2, burstSize: 4 },
      { name: 'hour', requestsPerSecond: 0.1, burstSize: 360 }
    ]
    const { get } = await limited(t, { policies, headers: ['draft', 'draft-6', 'legacy'] })
    const { headers } = await get('/')
    t.equal(headers.get('ratelimit-policy'), '"burst";q=4;w=2, "hour";q=360;w=3600')
    t.equal(headers.get('ratelimit'), '"burst";r=3;t=1')
    for (const prefix of ['ratelimit', 'x-ratelimit']) {
      t.equal(headers.get(`${prefix}-limit`), '4')
      t.equal(headers.get(`${prefix}-remaining`), '3')
      t.equal(headers.get(`${prefix}-reset`), '1')
    }
  }
)

t.test(
  'without header styles an answer says nothing of limits, a refusal when to come again',
  async (t) => {
    const { get } = await limited(t, { ...SLOW, burstSize: 1, headers: [] })
    const fields = async (): Promise<string[]> =>
      [...(await get('/')).headers.keys()].filter((name) => /rate|retry/.test(name))
    t.same(await fields(), [])
    t.same(await fields(), ['retry-after'])
  }
)

t.test('each address has its own limit, and a proxy that is trusted says which', async (t) => {
  const { get } = await limited(t, { ...SLOW, burstSize: 1 }, undefined, PROXIED)
  const from = (address: string): Promise<Response> => get('/', { 'x-forwarded-for': address })
  t.equal((await from('203.0.113.1')).status, 200)
  t.equal((await from('203.0.113.1')).status, 429)
  t.equal((await from('203.0.113.2')).status, 200)
  t.equal((await from('::ffff:203.0.113.2')).status, 429, 'mapped IPv4 is IPv4')
  t.equal((await from('2001:db8:1:2::1')).status, 200)
  t.equal((await from('2001:db8:1:2:ffff::9')).status, 429, 'one network is one client')
  t.equal((await from('2001:db8:1:3::1')).status, 200)
})

t.test('an address that a client makes up is not believed', async (t) => {
  const { get } = await limited(t, { ...SLOW, burstSize: 2 })
  const all = await Promise.all(
    [1, 2, 3, 4].map((i) => get('/', { 'x-forwarded-for': `198.51.100.${i}` }))
  )
  t.same(all.map(({ status }) => status).toSorted(ascending), [200, 200, 429, 429])
  const behind = await limited(t, { ...SLOW, burstSize: 1 }, undefined, PROXIED)
  const spoofed = (fake: string): Promise<Response> =>
    behind.get('/', { 'x-forwarded-for': `${fake}, 203.0.113.5` })
  t.equal((await spoofed('10.0.0.1')).status, 200)
  t.equal((await spoofed('10.0.0.2')).status, 429, 'only what the proxy added counts')
})

t.test('a header can be the key; who leaves it out is limited by address', async (t) => {
  const { get } = await limited(t, { ...SLOW, burstSize: 1, key: { header: 'X-Api-Key' } })
  t.equal((await get('/', { 'x-api-key': 'a' })).status, 200)
  t.equal((await get('/', { 'x-api-key': 'a' })).status, 429)
  t.equal((await get('/', { 'x-api-key': 'b' })).status, 200)
  t.equal((await get('/')).status, 200)
  t.equal((await get('/')).status, 429)
  t.equal((await get('/', { 'x-api-key': '127.0.0.1' })).status, 200, 'a key is no address')
})

t.test('a key of a megabyte is a key like any other', async (t) => {
  const app = Fastify({ http: { maxHeaderSize: 2 ** 21 } })
  await app.register(rateLimit, { ...SLOW, burstSize: 1, key: { header: 'x-api-key' } })
  app.get('/', async () => 'home')
  const { port } = await served(app)
  t.teardown(() => app.close())
  const ask = async (key: string): Promise<string> => {
    const socket = connect(port, '127.0.0.1')
    socket.write(`GET / HTTP/1.1\r\nhost: x\r\nx-api-key: ${key}\r\nconnection: close\r\n\r\n`)
    let answer = ''
    socket.on('data', (chunk) => (answer += chunk.toString()))
    await once(socket, 'close')
    return answer.slice(9, 12)
  }
  const long = 'k'.repeat(1_000_000)
  t.equal(await ask(`${long}1`), '200')
  t.equal(await ask(`${long}1`), '429')
  t.equal(await ask(`${long}2`), '200')
})

t.test(
  'a key function that throws or returns nothing limits by address, and is counted',
  async (t) => {
    let calls = 0
    const key = (): string | undefined => {
      if (calls++ % 2 === 0) throw new Error('no key')
      return undefined
    }
    const { app, get } = await limited(t, { ...SLOW, burstSize: 3, key })
    t.same(await inTurn(5, () => get('/')), [200, 200, 200, 429, 429])
    t.match(await metricsOf(app), 'rate_limit_callback_errors_total{callback="key"} 5')
  }
)

t.test(
  'users and tenants have limits of their own, as another plugin taught the hub',
  async (t) => {
    const app = Fastify()
    await app.register(metrics)
    app.vitals.requests.observe(() => {})
    app.vitals.requests.identifyBy({ user: ({ request }) => String(request.headers['x-user']) })
    await app.register(rateLimit, { ...SLOW, burstSize: 1, key: 'user' })
    app.get('/', async () => 'home')
    const { origin } = await served(app)
    t.teardown(() => app.close())
    const as = async (user: string): Promise<number> =>
      (await fetch(origin, { headers: { 'x-user': user } })).status
    t.same([await as('ann'), await as('ann'), await as('bob')], [200, 429, 200])

    const alone = Fastify()
    await alone.register(rateLimit, { key: 'user' })
    t.teardown(() => alone.close())
    await t.rejects(async () => await alone.ready(), {
      message: /"user" needs somebody who knows it/
    })
  }
)

t.test('a request costs what its route or function says, and nonsense costs one', async (t) => {
  const { app, get } = await limited(t, { ...SLOW, burstSize: 10 }, (scope) => {
    scope.get('/dear', { config: { rateLimit: { cost: 4 } } }, async () => 'x')
    const cost = (): number => Number.NaN
    scope.get(
      '/odd',
      { config: { rateLimit: { cost, requestsPerSecond: 0.01, burstSize: 2 } } },
      async () => 'x'
    )
  })
  t.same(await inTurn(2, () => get('/dear')), [200, 200])
  t.same(await inTurn(3, () => get('/')), [200, 200, 429])
  t.same(await inTurn(3, () => get('/odd')), [200, 200, 429])
  t.match(await metricsOf(app), 'rate_limit_callback_errors_total{callback="cost"} 3')
})

t.test('routes may have limits of their own, share those of a group, or have none', async (t) => {
  const groups = { search: { ...SLOW, burstSize: 2 } }
  const { get } = await limited(
    t,
    { ...SLOW, burstSize: 1, groups, skipPaths: ['/health*'] },
    (app) => {
      const config = (limit: boolean | object): { config: { rateLimit: boolean } } => ({
        config: { rateLimit: limit as boolean }
      })
      app.get('/own', config({ ...SLOW, burstSize: 3 }), async () => 'x')
      app.get('/search/a', config({ group: 'search' }), async () => 'x')
      app.get('/search/b', config({ group: 'search' }), async () => 'x')
      app.get('/free', config(false), async () => 'x')
      app.get('/health/ready', async () => 'x')
    }
  )
  t.same(await inTurn(4, () => get('/own')), [200, 200, 200, 429])
  t.same(
    [
      (await get('/search/a')).status,
      (await get('/search/b')).status,
      (await get('/search/a')).status
    ],
    [200, 200, 429]
  )
  t.same(await inTurn(3, () => get('/free')), [200, 200, 200])
  t.same(await inTurn(3, () => get('/health/ready')), [200, 200, 200])
  t.same(await inTurn(2, () => get('/')), [200, 429])
})

t.test('with global off only routes that ask for it are limited', async (t) => {
  const { get } = await limited(t, { ...SLOW, burstSize: 1, global: false }, (app) => {
    app.get('/asks', { config: { rateLimit: true } }, async () => 'x')
  })
  t.same(await inTurn(3, () => get('/')), [200, 200, 200])
  t.same(await inTurn(2, () => get('/asks')), [200, 429])
  t.same(await inTurn(3, () => get('/nowhere')), [404, 404, 404])
})

t.test(
  'who is on the allow list is never limited, who is on the deny list never answered',
  async (t) => {
    const { app, get } = await limited(
      t,
      { ...SLOW, burstSize: 1, allowList: ['198.51.100.0/24'], denyList: ['203.0.113.66'] },
      undefined,
      PROXIED
    )
    const from = (address: string): Promise<Response> => get('/', { 'x-forwarded-for': address })
    t.same(await inTurn(3, () => from('198.51.100.7')), [200, 200, 200])
    const denied = await from('203.0.113.66')
    t.equal(denied.status, 403)
    t.match(await denied.json(), { code: 'VITALS_ADDRESS_DENIED', status: 403 })
    t.match(await metricsOf(app), 'rate_limit_requests_total{route="/",result="skipped"} 3')
    t.match(await metricsOf(app), 'rate_limit_requests_total{route="/",result="denied"} 1')
  }
)

t.test('skip lets through whom it names; when it throws the limit holds', async (t) => {
  const skip = ({ headers }: { headers: Record<string, unknown> }): boolean => {
    if (headers['x-kind'] === 'bad') throw new Error('skip')
    return headers['x-kind'] === 'probe'
  }
  const { get } = await limited(t, { ...SLOW, burstSize: 1, skip })
  t.same(await inTurn(3, () => get('/', { 'x-kind': 'probe' })), [200, 200, 200])
  t.same(await inTurn(2, () => get('/', { 'x-kind': 'bad' })), [200, 429])
})

t.test('a dry run refuses nobody and counts whom it would have refused', async (t) => {
  const { app, get } = await limited(t, { ...SLOW, burstSize: 1, dryRun: true })
  t.same(await inTurn(3, () => get('/')), [200, 200, 200])
  t.match(await metricsOf(app), 'rate_limit_requests_total{route="/",result="would_limit"} 2')
  t.match(await metricsOf(app), 'rate_limit_requests_total{route="/",result="limited"} 0')
})

t.test(
  'a problem function may write another body; the status stays, whatever it does',
  async (t) => {
    const bodies: unknown[] = [{ msg: 'no' }, undefined, 'plain', 10n]
    const problem = (): unknown => bodies.shift()
    const { get } = await limited(t, { ...SLOW, burstSize: 1, problem })
    await get('/')
    const answers: [number, string][] = []
    for (let i = 0; i < 4; i++) {
      const refused = await get('/')
      answers.push([refused.status, await refused.text()])
    }
    t.match(answers, [
      [429, '{"msg":"no"}'],
      [429, 'VITALS_RATE_LIMITED'],
      [429, 'plain'],
      [429, 'VITALS_RATE_LIMITED']
    ])
  }
)

t.test('a later hook sees what earlier ones found out', async (t) => {
  const { get } = await limited(
    t,
    {
      ...SLOW,
      burstSize: 1,
      hook: 'preHandler',
      key: (request) => (request as { account?: string }).account
    },
    (app) => {
      app.decorateRequest('account')
      app.addHook('preValidation', async (request) => {
        Object.assign(request, { account: request.headers.authorization })
      })
      app.get('/account', async () => 'x')
    }
  )
  const as = (who: string): Promise<Response> => get('/account', { authorization: who })
  t.same([(await as('a')).status, (await as('a')).status, (await as('b')).status], [200, 429, 200])
})

t.test('requests that match no route are limited too, unless told otherwise', async (t) => {
  const { get } = await limited(t, { ...SLOW, burstSize: 2 })
  t.same(await inTurn(3, () => get('/nowhere')), [404, 404, 429])
  const open = await limited(t, { ...SLOW, burstSize: 2, notFound: false })
  t.same(await inTurn(3, () => open.get('/nowhere')), [404, 404, 404])
})

t.test('HEAD does not spend what a GET route has for itself', async (t) => {
  const { get } = await limited(t, {}, (app) => {
    app.get('/own', { config: { rateLimit: { ...SLOW, burstSize: 1 } } }, async () => 'x')
  })
  t.equal((await get('/own')).status, 200)
  t.equal((await get('/own')).status, 429)
  t.equal((await get('/own', {}, 'HEAD')).status, 200)
  t.equal((await get('/own', {}, 'HEAD')).status, 429)
})

t.test('two limits on one address share no count', async (t) => {
  const { get } = await limited(t, {}, (app) => {
    app.get('/one', { config: { rateLimit: { ...SLOW, burstSize: 2 } } }, async () => 'x')
    app.get('/two', { config: { rateLimit: { ...SLOW, burstSize: 2 } } }, async () => 'x')
    const window = { policies: [{ max: 2, windowMs: 60_000 }] }
    app.get('/three', { config: { rateLimit: window } }, async () => 'x')
    app.get('/four', { config: { rateLimit: window } }, async () => 'x')
  })
  for (const path of ['/one', '/two', '/three', '/four']) {
    t.same(await inTurn(3, () => get(path)), [200, 200, 429], path)
  }
})

t.test('a flood of other addresses does not give a fixed window back to its victim', async (t) => {
  const { app, get } = await limited(t, {
    policies: [{ max: 1, windowMs: 60_000 }],
    key: { header: 'x-key' }
  })
  t.same(await inTurn(2, () => get('/', { 'x-key': 'victim' })), [200, 429])
  // the store of @fastify/rate-limit holds 5 000
  for (let i = 0; i < 6000; i++) await app.inject({ url: '/', headers: { 'x-key': `flood ${i}` } })
  t.equal((await get('/', { 'x-key': 'victim' })).status, 429)
})

t.test('bodies are not read of requests that are refused', async (t) => {
  let parsed = 0
  const app = Fastify()
  await app.register(rateLimit, { ...SLOW, burstSize: 1 })
  app.addContentTypeParser('text/plain', { parseAs: 'string' }, (_request, body, done) => {
    parsed++
    done(null, body)
  })
  app.post('/', async () => 'x')
  const { port } = await served(app)
  t.teardown(() => app.close())
  const request =
    'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi'
  t.match(await rawExchange(port, request), 'HTTP/1.1 200')
  t.match(await rawExchange(port, request), 'HTTP/1.1 429')
  t.equal(parsed, 1)
})

t.test(
  'the hub shows limits, counts, and the most refused keys without telling who they are',
  async (t) => {
    const { app, get } = await limited(t, { ...SLOW, burstSize: 1, topKeys: 5 })
    await inTurn(4, () => get('/'))
    const view = app.vitals.views.get('rate_limits')!.read() as {
      limiters: unknown[]
      top_limited_keys: { key: string; limited_count: number }[]
    }
    t.match(view, {
      limiters: [
        {
          name: 'global',
          policies: [{ name: 'default', requests_per_second: 0.01, burst_size: 1 }]
        }
      ],
      keys: 1,
      keys_evicted: 0,
      store: null
    })
    t.equal(view.top_limited_keys.length, 1)
    t.match(view.top_limited_keys[0], { key: /^[0-9a-f]{16}$/, limited_count: 3 })

    const plain = await limited(t, { ...SLOW, burstSize: 1, showKeys: 'plain' })
    await inTurn(2, () => plain.get('/'))
    t.match(plain.app.vitals.views.get('rate_limits')!.read(), {
      top_limited_keys: [{ key: '127.0.0.1', limited_count: 1 }]
    })
  }
)

t.test('an ordered key is let in again', async (t) => {
  const { app, get } = await limited(t, { ...SLOW, burstSize: 1 }, (scope) => {
    const policies = [{ max: 1, windowMs: 60_000 }]
    scope.get('/window', { config: { rateLimit: { policies } } }, async () => 'x')
  })
  const forget = app.vitals.actions.get('rate-limit-forget')!
  t.same(await inTurn(2, () => get('/')), [200, 429])
  t.same(await inTurn(2, () => get('/window')), [200, 429])
  t.same(await forget.run({ key: '127.0.0.1' }), { forgotten_in: ['global', 'GET /window'] })
  t.equal((await get('/')).status, 200)
  t.equal((await get('/window')).status, 200)
  t.same(await forget.run({ key: '192.0.2.1' }), { forgotten_in: [] })
  await t.rejects(async () => forget.run({}), { code: 'VITALS_KEY_INVALID' })
})

t.test('a route whose requests are refused a lot is a finding', async (t) => {
  const { app, get } = await limited(t, { ...SLOW, burstSize: 20 })
  await inTurn(100, () => get('/'))
  const findings = app.vitals.detectors
    .get('rate_limit_storm')!
    .inspect(app.vitals.history.window(60))
  t.match(findings, [
    {
      type: 'rate_limit_storm',
      severity: 'high',
      route: '/',
      cause: 'limits refused 80 % of its requests',
      evidence: { request_count: 100, limited_count: 80 }
    }
  ])
})

t.test('what silently would not work is told in the log', async (t) => {
  const lines: { msg: string }[] = []
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as { msg: string }) }
  const told = (what: RegExp): number => lines.filter(({ msg }) => what.test(msg)).length
  const app = Fastify({ logger: { level: 'warn', stream } })
  app.get('/earlier', async () => 'x')
  await app.register(rateLimit, {})
  t.equal(told(/declared before it and have no limit/), 1)
  app.get('/', async () => 'x')
  const { origin } = await served(app)
  t.teardown(() => app.close())
  for (let i = 0; i < 3; i++)
    await fetch(origin, { headers: { 'x-forwarded-for': '198.51.100.1' } })
  t.equal(told(/trustProxy is not set/), 1, 'once')

  const trusting = await limited(t, {}, undefined, {
    trustProxy: true,
    logger: { level: 'warn', stream }
  })
  await trusting.get('/', { 'x-forwarded-for': '10.0.0.1' })
  t.equal(told(/trusts every hop/), 0)
  await trusting.get('/', { 'x-forwarded-for': '10.0.0.1, 203.0.113.5' })
  t.equal(told(/trusts every hop/), 1)
})

t.test('fixed windows beside @fastify/rate-limit of the app’s own are refused', async (t) => {
  const { default: theirs } = await import('@fastify/rate-limit')
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(theirs, { max: 10, global: false })
  await t.rejects(
    async () => await app.register(rateLimit, { policies: [{ max: 1, windowMs: 1000 }] }),
    { message: /use one of both/ }
  )
  const buckets = Fastify()
  t.teardown(() => buckets.close())
  await buckets.register(theirs, { max: 10, global: false })
  await t.resolves(async () => {
    await buckets.register(rateLimit, SLOW)
  })
})

t.test('options of routes that make no sense are refused when the route is declared', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(rateLimit, { groups: { search: SLOW } })
  const refused: [object, RegExp][] = [
    [
      { burstSize: 0, requestsPerSecond: 1 },
      /config.rateLimit of GET \/x: option "burstSize" .* got 0/
    ],
    [{ group: 'serach' }, /option "group" must be one of search, got "serach"/],
    [{ group: 'search', requestsPerSecond: 1 }, /option "group" has policies already/],
    [{ requestsPerSecond: 1, burstSize: 2, cost: 3 }, /option "cost" must be at most 2/],
    [{ policies: [{ max: 1, windowMs: -5 }] }, /option "policies\[0\].windowMs" .* got -5/],
    [{ max: 5 }, /option "max" is unknown/]
  ]
  for (const [config, message] of refused) {
    t.throws(() => app.get('/x', { config: { rateLimit: config as never } }, async () => 'x'), {
      message
    })
  }
})

t.test('it is a plugin as all of the house', { timeout: 60_000 }, async (t) => {
  const bad: [unknown, RegExp][] = [
    [{ burstSize: 0, requestsPerSecond: 1 }, /option "burstSize" .* got 0/],
    [{ burstSize: 5 }, /"burstSize" needs requestsPerSecond/],
    [{ requestsPerSecond: -1 }, /option "requestsPerSecond" .* got -1/],
    [{ requestsPerSecond: 'abc' }, /option "requestsPerSecond" .* got "abc"/],
    [{ policies: [] }, /option "policies"/],
    [{ policies: [{ max: 5 }] }, /windowMs/],
    [{ policies: [{ max: 5, windowMs: -1 }] }, /windowMs.* got -1/],
    [{ policies: [{ name: 'a b', requestsPerSecond: 1 }] }, /name/],
    [{ policies: [{ requestsPerSecond: 1 }], requestsPerSecond: 1 }, /got both/],
    [
      {
        policies: [
          { name: 'x', requestsPerSecond: 1 },
          { name: 'x', max: 1, windowMs: 1 }
        ]
      },
      /"x" again/
    ],
    [
      {
        policies: [
          { name: 'x', requestsPerSecond: 1, burstSize: 1 },
          { name: 'y', requestsPerSecond: 2, burstSize: 2 }
        ]
      },
      /always refuses before/
    ],
    [{ groups: { search: {} } }, /groups.search.*policies/],
    [{ groups: { search: { requestsPerSecond: 0 } } }, /groups.search.requestsPerSecond.* got 0/],
    [{ allowList: ['10.0.0.0/99'] }, /option "allowList".*10.0.0.0\/99/],
    [{ key: 'session' }, /option "key"/],
    [{ key: { header: 'a b' } }, /option "key.header"/],
    [{ cost: 0 }, /option "cost"/],
    [{ cost: 101, requestsPerSecond: 100 }, /option "cost" must be at most 100/],
    [{ headers: ['x'] }, /option "headers"/],
    [{ maxKeys: 1 }, /option "maxKeys"/],
    [{ redis: {} }, /option "redis.client"/],
    [{ hook: 'onSend' }, /option "hook"/],
    [{ ipv6SubnetBits: 129 }, /option "ipv6SubnetBits"/]
  ]
  t.same(
    await pluginProblems(rateLimit, {
      validOptions: { requestsPerSecond: 1000, policies: undefined as never, headers: [] },
      badOptions: bad.map(([options, message]) => ({ options, message }))
    }),
    []
  )
})

async function metricsOf({ vitals }: FastifyInstance): Promise<string> {
  return await readText(vitals.scrape().body)
}
