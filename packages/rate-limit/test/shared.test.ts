import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { eventually, served, skipOrFail, slowWire, startRedis } from '@fastify-vitals/testing'
import type { RedisServer, SlowWire } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import rateLimit from '../src/index.ts'
import type { RateLimitOptions, RouteLimitOptions } from '../src/index.ts'
import { BoundedCalls } from '../src/bounded-calls.ts'
import { SharedStore } from '../src/shared-store.ts'

const TIMEOUT_MS = 100
/** What a request may take where a hanging one would take for ever; how close it is shows the benchmark. */
const HANGS_MS = 5000

const redis = await startRedis()
if (redis === undefined) skipOrFail(t, 'redis-server is not installed')
else {
  t.teardown(() => redis.stop())
  sharedTests(redis)
  t.test('outages', async (suite) => await outageTests(suite))
}

function clientOf(t: Test, port: number): Redis {
  const client = new Redis(port, '127.0.0.1', {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    retryStrategy: () => 100
  })
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return client
}

async function flushed(t: Test, port: number): Promise<void> {
  const client = clientOf(t, port)
  await once(client, 'ready')
  await client.flushall()
}

async function limitedApp(
  t: Test,
  client: Redis,
  limits: RateLimitOptions
): Promise<{ app: FastifyInstance; origin: string }> {
  if (client.status !== 'ready') await once(client, 'ready')
  const app = Fastify()
  await app.register(rateLimit, {
    ...limits,
    redis: { client, timeoutMs: TIMEOUT_MS, ...limits.redis }
  })
  app.get('/', async () => 'home')
  const { origin } = await served(app)
  t.teardown(() => app.close())
  return { app, origin }
}

function storeOf({ vitals }: FastifyInstance): { up: boolean; instances: number } {
  const { store } = vitals.views.get('rate_limits')!.read() as {
    store: { up: boolean; instances: number }
  }
  return store
}

async function countOf(app: FastifyInstance, result: string): Promise<number> {
  const { routes } = app.vitals.views.get('rate_limits')!.read() as {
    routes: { requests: Record<string, number> }[]
  }
  return routes.reduce((sum, { requests }) => sum + (requests[result] ?? 0), 0)
}

function sharedTests({ port }: RedisServer): void {
  const limits: Record<string, RouteLimitOptions> = {
    '/bucket': { requestsPerSecond: 0.0001, burstSize: 500 },
    '/window': { policies: [{ max: 500, windowMs: 600_000 }] },
    '/both': {
      policies: [
        { name: 'window', max: 500, windowMs: 600_000 },
        { name: 'bucket', requestsPerSecond: 0.0001, burstSize: 700 }
      ]
    }
  }
  t.test('four processes that share a limit let exactly its number through', async (t) => {
    const origins = await Promise.all([1, 2, 3, 4].map(() => startChild(t, port, limits)))
    for (const path of Object.keys(limits)) {
      const asked = Array.from({ length: 1600 }, async (_, i) => {
        const { status } = await fetch(origins[i % 4]! + path)
        return status
      })
      const statuses = await Promise.all(asked)
      t.equal(statuses.filter((status) => status === 200).length, 500, path)
      t.equal(statuses.filter((status) => status === 429).length, 1100, path)
    }
  })

  t.test('Redis refills a bucket by its own clock', async (t) => {
    const client = clientOf(t, port)
    const { origin } = await limitedApp(t, client, {
      requestsPerSecond: 20,
      burstSize: 2,
      key: () => 'refill'
    })
    const ask = async (): Promise<Response> => await fetch(origin)
    t.equal((await ask()).headers.get('ratelimit'), '"default";r=1;t=1')
    await ask()
    let status = 0
    await eventually(async () => {
      status = (await ask()).status
      return status === 429
    }, 5000)
    await eventually(async () => (await ask()).status === 200, 5000)
    t.equal(status, 429)
  })

  t.test('keys in Redis tell nobody’s key, and go away by themselves', async (t) => {
    const client = clientOf(t, port)
    const { origin } = await limitedApp(t, client, {
      requestsPerSecond: 1,
      burstSize: 3,
      key: { header: 'x-api-key' },
      redis: { client, keyPrefix: 'secret-test:' }
    })
    await fetch(origin, { headers: { 'x-api-key': 'hunter2' } })
    const keys = (await client.keys('secret-test:*')).filter((key) => !key.endsWith('instances'))
    t.equal(keys.length, 1)
    t.match(keys[0], /^secret-test:\{[\w-]{27}\}:default$/)
    const ttl = await client.pttl(keys[0]!)
    t.ok(ttl > 0 && ttl <= 1000, `${ttl} ms`)
  })

  t.test('an ordered key is forgotten in Redis too', async (t) => {
    const client = clientOf(t, port)
    const { app, origin } = await limitedApp(t, client, {
      requestsPerSecond: 0.001,
      burstSize: 1,
      key: () => 'forgotten'
    })
    const ask = async (): Promise<number> => (await fetch(origin)).status
    t.same([await ask(), await ask()], [200, 429])
    const forgotten = await app.vitals.actions
      .get('rate-limit-forget')!
      .run({ key: 'key:forgotten' })
    t.same(forgotten, { forgotten_in: ['global'] })
    t.equal(await ask(), 200)
  })

  t.test('instances count each other', async (t) => {
    await flushed(t, port)
    const apps = await Promise.all(
      [1, 2, 3].map(async () => await limitedApp(t, clientOf(t, port), {}))
    )
    await eventually(async () => storeOf(apps[0]!.app).instances === 3, 10_000)
    t.equal(storeOf(apps[0]!.app).instances, 3)
  })

  t.test(
    'an answer that is not the script’s is an error of the store, not of the request',
    async (t) => {
      const failures: string[] = []
      const store = new SharedStore(
        {
          client: { evalsha: async () => 'nonsense', eval: async () => '', del: async () => 0 },
          keyPrefix: '',
          timeoutMs: 1000
        },
        { answered() {}, failed: (reason) => failures.push(reason), turned() {} }
      )
      t.teardown(() => store.close())
      const policy = {
        kind: 'token-bucket',
        name: 'a',
        tokensPerSecond: 1,
        size: 1,
        windowMs: 1000
      } as const
      t.equal(await store.take('l', [policy], 'k', 1), undefined)
      t.same(failures, ['error'])
    }
  )
}

async function startChild(
  t: Test,
  port: number,
  limits: Record<string, RouteLimitOptions>
): Promise<string> {
  const child = fork(join(import.meta.dirname, 'shared-child.ts'), {
    execArgv: ['--conditions=@fastify-vitals/source', '--import=./scripts/strip-types.mjs'],
    env: { ...process.env, REDIS_PORT: String(port), LIMITS: JSON.stringify(limits) }
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [origin] = (await once(child, 'message')) as [string]
  return origin
}

/** What became of requests that came at a steady rate, whatever the answers did. */
interface Steady {
  readonly statuses: Map<number | string, number>
  slowestMs: number
}

const PER_SECOND = 300
/** Of the quota; two instances are declared, so half of it is this one's share. */
const LIMITS: RateLimitOptions = { requestsPerSecond: 40, burstSize: 40 }
const SHARE = { perSecond: 20, burst: 20 }

async function askSteadily(origin: string, seconds: number): Promise<Steady> {
  const steady: Steady = { statuses: new Map(), slowestMs: 0 }
  const ask = async (): Promise<void> => {
    const startMs = performance.now()
    const status = await fetch(origin).then(
      async (response) => {
        await response.arrayBuffer()
        return response.status
      },
      (error: Error) => error.message
    )
    steady.slowestMs = Math.max(steady.slowestMs, performance.now() - startMs)
    steady.statuses.set(status, (steady.statuses.get(status) ?? 0) + 1)
  }
  const asked: Promise<void>[] = []
  const startMs = performance.now()
  for (let i = 0; i < PER_SECOND * seconds; i++) {
    const early = startMs + (i * 1000) / PER_SECOND - performance.now()
    if (early > 1) await wait(early)
    asked.push(ask())
  }
  await Promise.all(asked)
  return steady
}

async function outageTests(suite: Test): Promise<void> {
  const outages: [
    name: string,
    begin: (redis: RedisServer, slow: SlowWire) => void | Promise<void>,
    end: (redis: RedisServer, slow: SlowWire) => void | Promise<void>
  ][] = [
    ['killed', async (server) => await server.kill(), async (server) => await server.restart()],
    ['paused', (server) => server.pause(), (server) => server.resume()],
    ['slow', (_server, wire) => wire.delay(400), (_server, wire) => wire.delay(0)]
  ]
  for (const [name, begin, end] of outages) {
    suite.test(
      `while Redis is ${name} nobody hangs or fails, the share holds, and the limit comes back`,
      async (t) => {
        const server = (await startRedis())!
        t.teardown(() => server.stop())
        const wire = await slowWire(server.port)
        t.teardown(() => wire.close())
        const client = clientOf(t, wire.port)
        const { app, origin } = await limitedApp(t, client, {
          ...LIMITS,
          redis: { client, instances: 2 }
        })
        const before = await askSteadily(origin, 1)
        t.same(new Set(before.statuses.keys()), new Set([200, 429]))
        t.ok(storeOf(app).up)

        await begin(server, wire)
        const turningMs = performance.now()
        const during = await askSteadily(origin, 2)
        await eventually(async () => !storeOf(app).up, 5000)
        t.same(
          new Set(during.statuses.keys()),
          new Set([200, 429]),
          'answers and refusals, nothing else'
        )
        t.ok(during.slowestMs < HANGS_MS, `slowest ${during.slowestMs} ms`)
        const seconds = (performance.now() - turningMs) / 1000
        const most = SHARE.burst + SHARE.perSecond * seconds + 1
        const byShare = during.statuses.get(200)!
        t.ok(byShare <= most, `${byShare} let in, ${most} allowed by the share`)
        t.ok(byShare >= SHARE.burst, 'and the share is really granted')
        t.ok((await countOf(app, 'degraded')) > 0)
        t.match(
          app.vitals.detectors.get('rate_limit_degraded')!.inspect(app.vitals.history.window(60)),
          [{ type: 'rate_limit_degraded', evidence: { instances: 2 } }]
        )

        await end(server, wire)
        await eventually(async () => storeOf(app).up, 5000)
        const degraded = await countOf(app, 'degraded')
        const { status } = await fetch(origin)
        t.ok(status === 200 || status === 429)
        t.equal(await countOf(app, 'degraded'), degraded, 'Redis decides again')
      }
    )
  }

  suite.test('a client that is not connected is not waited for', async (t) => {
    const server = (await startRedis())!
    const client = clientOf(t, server.port)
    const { app, origin } = await limitedApp(t, client, { requestsPerSecond: 0.001, burstSize: 2 })
    await server.stop()
    await eventually(async () => client.status !== 'ready', 5000)
    const statuses: number[] = []
    for (let i = 0; i < 4; i++) statuses.push((await fetch(origin)).status)
    t.same(statuses, [200, 200, 429, 429])
    t.equal(await countOf(app, 'degraded'), 4)
  })

  suite.test(
    'calls beyond the time-out or the most at a time are given up, in order',
    async (t) => {
      let nowMs = 0
      const calls = new BoundedCalls(50, 2, () => nowMs)
      const first = calls.run(async () => await new Promise<never>(() => {}))
      const second = calls.run(async () => await wait(1, 'answered'))
      await t.rejects(
        calls.run(async () => 'x'),
        { message: /2 calls wait/ }
      )
      t.equal(await second, 'answered')
      nowMs = 60
      await t.rejects(first, { message: /within 50 ms/ })
      const third = calls.run(async () => await new Promise<never>(() => {}))
      calls.close()
      await t.rejects(third, { message: /within 50 ms/ })
    }
  )
}
