import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import type { Faults } from './faults.ts'
import { problem, rowId } from './schemas.ts'
import type { PriceService } from './upstream.ts'

const CACHED_MS = 1000
const MOST_CACHED = 1000

/** Prices that were asked for a moment ago: few, and soon forgotten. */
class PriceCache {
  readonly #prices = new Map<string, { readonly cents: number; readonly untilMs: number }>()

  get(key: string): number | undefined {
    const known = this.#prices.get(key)
    return known !== undefined && known.untilMs > performance.now() ? known.cents : undefined
  }

  set(key: string, cents: number): void {
    this.#prices.delete(key) // so that the oldest is always the first
    if (this.#prices.size >= MOST_CACHED) this.#prices.delete(this.#prices.keys().next().value!)
    this.#prices.set(key, { cents, untilMs: performance.now() + CACHED_MS })
  }
}

const answers = {
  200: Type.Object({ product_id: Type.Integer(), cents: Type.Integer() }),
  502: problem,
  504: problem
}

/** A price from another service, kept for a second. */
export function quoteRoutes(app: FastifyInstance, prices: PriceService, faults: Faults): void {
  const cache = new PriceCache()
  let asked = 0

  app.get<{ Params: { productId: number } }>(
    '/quote/:productId',
    { schema: { params: Type.Object({ productId: rowId }), response: answers } },
    async ({ params: { productId } }) => {
      const key = faults.get('cache-never-hits') ? `${productId}:${asked++}` : String(productId)
      let cents = cache.get(key)
      if (cents === undefined) {
        cents = await prices.quote(productId)
        cache.set(key, cents)
      }
      return { product_id: productId, cents }
    }
  )
}
