import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import type { Faults } from './faults.ts'
import { idParameter, problem } from './schemas.ts'
import type { PriceService } from './upstream.ts'

const CACHED_MS = 1000
const MOST_CACHED = 1000

interface Cached {
  readonly cents: number
  readonly untilMs: number
}

/** A price from another service, kept for a second. */
export function quoteRoutes(app: FastifyInstance, prices: PriceService, faults: Faults): void {
  const cache = new Map<string, Cached>()
  let asked = 0

  app.get<{ Params: { id: number } }>(
    '/quote/:id',
    {
      schema: {
        params: idParameter,
        response: {
          200: Type.Object({ product_id: Type.Integer(), cents: Type.Integer() }),
          502: problem,
          504: problem
        }
      }
    },
    async ({ params }) => {
      const key = faults.get('cache-never-hits') ? `${params.id}:${asked++}` : String(params.id)
      const known = cache.get(key)
      if (known !== undefined && known.untilMs > performance.now()) {
        return { product_id: params.id, cents: known.cents }
      }
      const cents = await prices.quote(params.id)
      if (cache.size >= MOST_CACHED) cache.delete(cache.keys().next().value!)
      cache.set(key, { cents, untilMs: performance.now() + CACHED_MS })
      return { product_id: params.id, cents }
    }
  )
}
