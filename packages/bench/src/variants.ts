import timing from '@fastify-vitals/timing'
import metrics from '@fastify-vitals/metrics'
import vitalsCircuitBreaker from '@fastify-vitals/circuit-breaker'
import vitalsCompression from '@fastify-vitals/compression'
import vitalsHttpClient from '@fastify-vitals/http-client'
import vitalsOverload from '@fastify-vitals/overload'
import vitalsRateLimit from '@fastify-vitals/rate-limit'
import circuitBreaker from '@fastify/circuit-breaker'
import compress from '@fastify/compress'
import otel from '@fastify/otel'
import rateLimit from '@fastify/rate-limit'
import { fastifyRequestContext } from '@fastify/request-context'
import underPressure from '@fastify/under-pressure'
import { plugin as promster } from '@promster/fastify'
import Fastify from 'fastify'
import type { FastifyInstance, RouteOptions } from 'fastify'
import fastifyMetrics from 'fastify-metrics'

/** One way to set up the same little app. */
export interface Variant {
  readonly name: string
  readonly isOurs: boolean
  readonly setUp: (app: FastifyInstance) => Promise<void>
}

const GIGABYTE = 2 ** 30
/** Never reached: what is measured is the way of a request that is let in. */
const TOKEN_BUCKET = { requestsPerSecond: 1e6, burstSize: 1e9 }
/** The load of this benchmark is all that a core can bear: by default some of it would be turned away. */
const PATIENT = { queue: { minWaitMs: 60_000, maxWaitMs: 60_000 } }
/** Before the plugin sees the route: that is how an app would ask for it itself. */
const protectRoute = (route: RouteOptions): void => {
  route.config = { ...route.config, circuitBreaker: true }
}
/** All plugins as they come; limits high enough to be never reached. */
const everything = async (app: FastifyInstance): Promise<void> => {
  await app.register(timing)
  app.vitals.requests.follow()
  await app.register(vitalsRateLimit, TOKEN_BUCKET)
  await app.register(vitalsOverload, PATIENT)
  await app.register(vitalsCompression)
  await app.register(vitalsCircuitBreaker)
  await app.register(vitalsHttpClient)
}
const nothing = async (): Promise<void> => {}

/** What everything is compared with. */
export const BARE = 'bare'
/** The same again: its difference to bare must be nothing, or the run can't be trusted. */
export const CONTROL = 'bare (control)'
export const TIMING = 'vitals: timing'
export const FASTIFY_METRICS = 'fastify-metrics'

const ours = (name: string, setUp: Variant['setUp']): Variant => ({ name, isOurs: true, setUp })
const peer = (name: string, setUp: Variant['setUp']): Variant => ({ name, isOurs: false, setUp })

export const VARIANTS: readonly Variant[] = [
  peer(BARE, nothing),
  peer(CONTROL, nothing),
  ours('vitals: metrics', async (app) => {
    await app.register(metrics)
  }),
  ours(TIMING, async (app) => {
    await app.register(timing)
  }),
  ours('vitals: rate-limit', async (app) => {
    await app.register(vitalsRateLimit, TOKEN_BUCKET)
  }),
  ours('vitals: rate-limit (no headers)', async (app) => {
    await app.register(vitalsRateLimit, { ...TOKEN_BUCKET, headers: [] })
  }),
  ours('vitals: rate-limit (fixed window)', async (app) => {
    await app.register(vitalsRateLimit, {
      policies: [{ max: 1e9, windowMs: 60_000 }],
      headers: []
    })
  }),
  ours('vitals: circuit-breaker', async (app) => {
    app.addHook('onRoute', protectRoute)
    await app.register(vitalsCircuitBreaker)
  }),
  ours('vitals: overload', async (app) => {
    await app.register(vitalsOverload, PATIENT)
  }),
  ours('vitals: compression', async (app) => {
    await app.register(vitalsCompression)
  }),
  ours('vitals: all', everything),
  ours('vitals: all (route behind a breaker)', async (app) => {
    app.addHook('onRoute', protectRoute)
    await everything(app)
  }),
  peer(FASTIFY_METRICS, async (app) => {
    await app.register(fastifyMetrics.default, { endpoint: '/metrics' })
  }),
  peer('@promster/fastify', async (app) => {
    await app.register(promster)
  }),
  peer('@fastify/under-pressure', async (app) => {
    await app.register(underPressure, { maxEventLoopDelay: 1000, maxHeapUsedBytes: 8 * GIGABYTE })
  }),
  peer('@fastify/circuit-breaker', async (app) => {
    await app.register(circuitBreaker)
    app.addHook('onRoute', (route) => {
      route.preHandler = app.circuitBreaker()
    })
  }),
  peer('@fastify/rate-limit', async (app) => {
    await app.register(rateLimit, { max: 1e9, timeWindow: 60_000 })
  }),
  peer('@fastify/rate-limit (no headers)', async (app) => {
    const addHeadersOnExceeding = {
      'x-ratelimit-limit': false,
      'x-ratelimit-remaining': false,
      'x-ratelimit-reset': false
    }
    await app.register(rateLimit, { max: 1e9, timeWindow: 60_000, addHeadersOnExceeding })
  }),
  peer('@fastify/compress', async (app) => {
    await app.register(compress)
  }),
  peer('@fastify/request-context', async (app) => {
    await app.register(fastifyRequestContext)
  }),
  peer('@fastify/otel', async (app) => {
    await app.register(new otel.FastifyOtelInstrumentation().plugin())
  })
]

/** @throws Error naming the variants there are */
export function variantNamed(name: string): Variant {
  const found = VARIANTS.find((variant) => variant.name === name)
  if (found !== undefined) return found
  const names = VARIANTS.map((variant) => variant.name).join(', ')
  throw new Error(`unknown variant "${name}"; there are: ${names}`)
}

const RESPONSE = {
  type: 'object',
  properties: { id: { type: 'string' }, price: { type: 'number' } }
}

/** The path that is asked for. */
export const PATH = '/products/12'

/** The app that all variants share: one route with a parameter and a response schema. */
export async function buildApp(variant: Variant): Promise<FastifyInstance> {
  const app = Fastify()
  await variant.setUp(app)
  app.get<{ Params: { id: string } }>(
    '/products/:id',
    { schema: { response: { 200: RESPONSE } } },
    (request, reply) => {
      reply.send({ id: request.params.id, price: 12.5 })
    }
  )
  return app
}
