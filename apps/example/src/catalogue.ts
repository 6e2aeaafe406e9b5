import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import type { Database } from './database.ts'
import type { Faults } from './faults.ts'
import { Leak } from './leak.ts'
import { idParameter, pageQuery, plainText, problem, product, products } from './schemas.ts'

const COLUMNS = 'id, name, category, price_cents, stock'

interface PageQuery {
  category?: string
  after: number
  limit: number
}

/** What there is to buy: list, search and product page. */
export function catalogueRoutes(app: FastifyInstance, database: Database, faults: Faults): void {
  addList(app, database, new Leak(faults))
  addSearch(app, database, faults)
  addProduct(app, database, faults)
}

function addList(app: FastifyInstance, database: Database, leak: Leak): void {
  app.get<{ Querystring: PageQuery }>(
    '/products',
    { schema: { querystring: pageQuery, response: { 200: products } } },
    async ({ query }) => {
      leak.keep()
      const rows = await database.query(
        `SELECT ${COLUMNS} FROM products WHERE id > $1 AND ($2::text IS NULL OR category = $2)
         ORDER BY id LIMIT $3`,
        [query.after, query.category ?? null, query.limit]
      )
      return { products: rows }
    }
  )
}

function addSearch(app: FastifyInstance, database: Database, faults: Faults): void {
  app.get<{ Querystring: { q: string } }>(
    '/products/search',
    {
      schema: { querystring: Type.Object({ q: plainText(2, 60) }), response: { 200: products } }
    },
    async ({ query }) => {
      const slow = faults.get('slow-query')
      if (slow !== undefined) await database.pause(slow.delay_ms!)
      const rows = await database.query(
        `SELECT ${COLUMNS} FROM products WHERE name ILIKE '%' || $1 || '%' ORDER BY id LIMIT 20`,
        [query.q.replaceAll(/[\\%_]/g, String.raw`\$&`)]
      )
      return { products: rows }
    }
  )
}

function addProduct(app: FastifyInstance, database: Database, faults: Faults): void {
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

/** Work that should have been done elsewhere: nobody else runs meanwhile. */
function computeDiscounts(blockMs: number): number {
  const untilMs = performance.now() + blockMs
  let discount = 0
  while (performance.now() < untilMs) discount = Math.sqrt(discount + 1)
  return discount
}
