// One limiter in a process of its own: what a million keys take and whether a flood of them sets a
// victim free, then the processor time of a request with a key that is hot, and with one of a million.
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { dispatch } from './dispatch.ts'
import { KEY_HEADER, WAYS } from './rate-limit-ways.ts'
import type { Way } from './rate-limit-ways.ts'
import { median, mulberry32 } from './statistics.ts'

const BATCHES = 9
const BATCH = 10_000
/** Never reached: what is measured is the way of a request that is let in. */
const ENDLESS = 1e9

/** What a rate limit process measured. */
export interface RateLimitFigures {
  readonly bytes: number
  readonly hotUs: number
  readonly randomUs: number
  readonly isVictimStillLimited: boolean
}

async function appOf(way: Way, burst: number): Promise<FastifyInstance> {
  const app = Fastify()
  await way.setUp(app, burst)
  app.get('/', (_request, reply) => {
    reply.send('x')
  })
  await app.ready()
  return app
}

function ask(app: FastifyInstance, key: string): Promise<number> {
  return dispatch(app, '/', ['host', 'localhost', KEY_HEADER, key])
}

const addressOf = (i: number): string => `10.${i >>> 16}.${(i >>> 8) & 255}.${i & 255}`

function bytesInUse(): number {
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

async function batch(app: FastifyInstance, keyOf: () => string): Promise<number> {
  const keys = Array.from({ length: BATCH }, keyOf)
  const before = process.cpuUsage()
  for (const key of keys) await ask(app, key)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / BATCH
}

async function costOf(app: FastifyInstance, keyOf: () => string): Promise<number> {
  await batch(app, keyOf)
  const batches: number[] = []
  for (let i = 0; i < BATCHES; i++) batches.push(await batch(app, keyOf))
  return median(batches)
}

const way = WAYS.find(({ name }) => name === process.argv[2])!
const keys = Number(process.argv[3])
const strict = await appOf(way, 1)
await ask(strict, 'victim')
const before = bytesInUse()
for (let i = 0; i < keys; i++) await ask(strict, addressOf(i))
const bytes = bytesInUse() - before
const isVictimStillLimited = (await ask(strict, 'victim')) === 429
await strict.close()

const app = await appOf(way, ENDLESS)
for (let i = 0; i < keys; i++) await ask(app, addressOf(i))
const random = mulberry32(1)
const hotUs = await costOf(app, () => addressOf(7))
const randomUs = await costOf(app, () => addressOf(Math.floor(random() * keys)))
await app.close()
const figures: RateLimitFigures = { bytes, hotUs, randomUs, isVictimStillLimited }
process.send?.(figures)
