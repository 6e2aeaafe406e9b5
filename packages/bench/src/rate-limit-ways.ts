import vitalsRateLimit from '@fastify-vitals/rate-limit'
import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'

/** Where the key of a request stands. */
export const KEY_HEADER = 'x-key'

/** A limiter, set up so that each key may ask `burst` times. */
export interface Way {
  readonly name: string
  readonly isOurs: boolean
  readonly setUp: (app: FastifyInstance, burst: number) => Promise<void>
}

export const CONTROL_WAY = 'a hook that reads the key (control)'
export const BUCKET_WAY = 'vitals: token bucket'
export const PEER_WAY = '@fastify/rate-limit, 1e6 keys'

const HOUR_MS = 3_600_000
/** So slow that no key comes free again while it is measured. */
const SLOW_PER_SECOND = 0.001
const MOST_KEYS = 2_000_000

const keyOf = (request: FastifyRequest): string => String(request.headers[KEY_HEADER])

export const WAYS: readonly Way[] = [
  {
    name: CONTROL_WAY,
    isOurs: false,
    setUp: async (app) => {
      app.addHook('onRequest', (request, _reply, done) => {
        if (keyOf(request) === '') throw new Error('no key')
        done()
      })
    }
  },
  {
    name: BUCKET_WAY,
    isOurs: true,
    setUp: async (app, burst) => {
      await app.register(vitalsRateLimit, {
        requestsPerSecond: SLOW_PER_SECOND,
        burstSize: burst,
        key: { header: KEY_HEADER },
        maxKeys: MOST_KEYS,
        headers: ['legacy']
      })
    }
  },
  {
    name: 'vitals: fixed window',
    isOurs: true,
    setUp: async (app, burst) => {
      await app.register(vitalsRateLimit, {
        policies: [{ max: burst, windowMs: HOUR_MS }],
        key: { header: KEY_HEADER },
        maxKeys: MOST_KEYS,
        headers: ['legacy']
      })
    }
  },
  {
    name: PEER_WAY,
    isOurs: false,
    setUp: async (app, burst) => {
      await app.register(rateLimit, {
        max: burst,
        timeWindow: HOUR_MS,
        keyGenerator: keyOf,
        cache: MOST_KEYS
      })
    }
  },
  {
    name: '@fastify/rate-limit, its default of 5 000 keys',
    isOurs: false,
    setUp: async (app, burst) => {
      await app.register(rateLimit, { max: burst, timeWindow: HOUR_MS, keyGenerator: keyOf })
    }
  }
]
