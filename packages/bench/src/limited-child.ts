// A server whose limits are shared through Redis. Tells its port, and on 'figures' what became of
// the requests since the last time.
import { Redis } from 'ioredis'
import vitalsRateLimit from '@fastify-vitals/rate-limit'
import type { RateLimitOptions } from '@fastify-vitals/rate-limit'
import Fastify from 'fastify'

/** What is told on 'figures'. */
export interface LimitedFigures {
  readonly slowestMs: number
  readonly requests: number
  readonly degraded: number
  readonly isUp: boolean
}

const [redisPort = '', limits = '{}'] = process.argv.slice(2)
const client = new Redis(Number(redisPort), '127.0.0.1', {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 1,
  retryStrategy: () => 200
})
client.on('error', () => {})
await new Promise((resolve) => client.once('ready', resolve))

const app = Fastify()
let slowestMs = 0
let requests = 0
const begun = new WeakMap<object, number>()
app.addHook('onRequest', async (request) => {
  begun.set(request, performance.now())
})
// a refused request has waited too: it is seen when it is answered
app.addHook('onSend', async (request) => {
  requests++
  slowestMs = Math.max(slowestMs, performance.now() - begun.get(request)!)
})
const { redis, ...others } = JSON.parse(limits) as RateLimitOptions
await app.register(vitalsRateLimit, { ...others, redis: { ...redis, client } })
app.get('/', async () => 'x')
await app.listen({ port: 0, host: '127.0.0.1' })

interface LimitsView {
  readonly routes: { readonly requests: Record<string, number> }[]
  readonly store: { readonly up: boolean }
}
let degradedBefore = 0
process.on('message', () => {
  const view = app.vitals.views.get('rate_limits')!.read() as LimitsView
  const degraded = view.routes.reduce((sum, route) => sum + (route.requests.degraded ?? 0), 0)
  const figures: LimitedFigures = {
    slowestMs,
    requests,
    degraded: degraded - degradedBefore,
    isUp: view.store.up
  }
  process.send?.(figures)
  slowestMs = 0
  requests = 0
  degradedBefore = degraded
})
const address = app.server.address()
process.send?.({ port: typeof address === 'object' ? address?.port : 0 })
