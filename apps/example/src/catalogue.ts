import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import type { Database } from './database.ts'
import type { Faults } from './faults.ts'
import { idParameter, problem, product, products } from './schemas.ts'

const COLUMNS = 'id, name, category, price_cents, stock'

const pageQuery = Type.Object({
  category: Type.Optional(Type.String({ maxLength: 40 })),
  after: Type.Integer({ minimum: 0, default: 0, description: 'last id of the page before' }),
  limit: Type.Integer({ minimum: 1, maximum: 100, default: 20 })
})

interface PageQuery {
  category?: string
  after: number
  limit: number
}

/** What there is to buy: list, search and product page. */
export function catalogueRoutes(app: FastifyInstance, database: Database, faults: Faults): void {
  const kept: Buffer[] = []

  app.get<{ Querystring: PageQuery }>(
    '/products',
    { schema: { querystring: pageQuery, response: { 200: products } } },
    async ({ query }) => {
      leak(kept, faults)
      const rows = await database.query(
        `SELECT ${COLUMNS} FROM products WHERE id > $1 AND ($2::text IS NULL OR category = $2)
         ORDER BY id LIMIT $3`,
        [query.after, query.category ?? null, query.limit]
      )
      return { products: rows }
    }
  )

  const searchQuery = Type.Object({ q: Type.String({ minLength: 2, maxLength: 60 }) })
  app.get<{ Querystring: { q: string } }>(
    '/products/search',
    { schema: { querystring: searchQuery, response: { 200: products } } },
    async ({ query }) => {
      const slow = faults.get('slow-query')
      if (slow !== undefined) await slowly(database, slow.delay_ms!)
      const rows = await database.query(
        `SELECT ${COLUMNS} FROM products WHERE name ILIKE '%' || $1 || '%' ORDER BY id LIMIT 20`,
        [query.q.replaceAll(/[\\%_]/g, String.raw`\$&`)]
      )
      return { products: rows }
    }
  )

  app.get<{ Params: { id: number } }>(
    '/products/:id',
    { schema: { params: idParameter, response: { 200: product, 404: problem } } },
    async ({ params }, reply) => {
      const [found] = await database.query(`SELECT ${COLUMNS} FROM products WHERE id = $1`, [
        params.id
      ])
      const block = faults.get('blocked-event-loop')
      if (block !== undefined) computeDiscounts(block.block_ms!)
      if (found === undefined) return await reply.code(404).send(notFound(`product ${params.id}`))
      return found
    }
  )
}

export function notFound(what: string): { statusCode: number; error: string; message: string } {
  return { statusCode: 404, error: 'Not Found', message: `there is no ${what}` }
}

/** PGlite runs in this process, where sleeping in SQL would stop everything else too. */
async function slowly(database: Database, delayMs: number): Promise<void> {
  if (database.kind === 'PostgreSQL') await database.query('SELECT pg_sleep($1)', [delayMs / 1000])
  else await wait(delayMs)
}

/** Work that should have been done elsewhere: nobody else runs meanwhile. */
function computeDiscounts(blockMs: number): number {
  const untilMs = performance.now() + blockMs
  let discount = 0
  while (performance.now() < untilMs) discount = Math.sqrt(discount + 1)
  return discount
}

function leak(kept: Buffer[], faults: Faults): void {
  const parameters = faults.get('leak')
  if (parameters === undefined) {
    kept.length = 0
    return
  }
  const size = parameters.bytes_per_request!
  if ((kept.length + 1) * size <= parameters.max_bytes!) kept.push(Buffer.alloc(size, 1))
}
