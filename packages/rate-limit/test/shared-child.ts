// One of several processes that share limits through Redis. Told by its environment what to limit:
// a JSON object of limits by path.
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import rateLimit from '../src/index.ts'
import type { RouteLimitOptions } from '../src/index.ts'

const { REDIS_PORT = '', LIMITS = '{}' } = process.env
const client = new Redis(Number(REDIS_PORT), '127.0.0.1', {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 1,
  retryStrategy: () => 200
})
await new Promise((resolve) => client.once('ready', resolve))
const app = Fastify()
// time enough that a busy machine is not taken for a Redis that is away
await app.register(rateLimit, { redis: { client, timeoutMs: 10_000 } })
const limits = JSON.parse(LIMITS) as Record<string, RouteLimitOptions>
for (const [path, limit] of Object.entries(limits)) {
  app.get(path, { config: { rateLimit: limit } }, async () => path)
}
process.send?.(await app.listen({ host: '127.0.0.1', port: 0 }))
process.on('disconnect', () => process.exit())
