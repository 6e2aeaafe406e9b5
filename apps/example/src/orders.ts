import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { notFound } from './catalogue.ts'
import { placeOrder } from './checkout.ts'
import type { CheckoutBody } from './checkout.ts'
import type { Database, Query, Row } from './database.ts'
import type { Faults } from './faults.ts'
import { checkoutBody, idParameter, order, placedOrder, problem, salesReport } from './schemas.ts'

const LATEST = 50

/** A customer's orders, checkout, and the report on sales. */
export function orderRoutes(app: FastifyInstance, database: Database, faults: Faults): void {
  addOrders(app, database, faults)
  addCheckout(app, database)
  addReport(app, database)
}

function addOrders(app: FastifyInstance, database: Database, faults: Faults): void {
  const answer = Type.Object({ orders: Type.Array(order) })
  app.get<{ Params: { id: number } }>(
    '/customers/:id/orders',
    { schema: { params: idParameter, response: { 200: answer, 404: problem } } },
    async ({ params: { id } }, reply) => {
      const [customer] = await database.query('SELECT id FROM customers WHERE id = $1', [id])
      if (customer === undefined) return await reply.code(404).send(notFound(`customer ${id}`))
      const orders = await database.query(
        'SELECT id, created_at FROM orders WHERE customer_id = $1 ORDER BY id DESC LIMIT $2',
        [id, LATEST]
      )
      const readLines = faults.get('n-plus-one') ? linesOneByOne : linesTogether
      const lines = await readLines(database.query, orders)
      return { orders: orders.map((each) => shownOrder(each, lines)) }
    }
  )
}

function addCheckout(app: FastifyInstance, database: Database): void {
  app.post<{ Body: CheckoutBody }>(
    '/checkout',
    {
      schema: { body: checkoutBody, response: { 201: placedOrder, 404: problem, 409: problem } },
      config: { overload: { priority: 'critical' } }
    },
    async ({ body }, reply) => {
      const placed = await database.transaction(async (query) => await placeOrder(query, body))
      return await reply.code(201).send(placed)
    }
  )
}

function addReport(app: FastifyInstance, database: Database): void {
  const config = { overload: { priority: 'low' }, circuitBreaker: { timeoutMs: 5000 } } as const
  app.get('/reports/sales', { schema: { response: { 200: salesReport } }, config }, async () => ({
    categories: await database.query(
      `SELECT p.category, count(*)::int AS lines, sum(l.quantity * l.price_cents)::bigint AS cents
       FROM order_lines l JOIN products p ON p.id = l.product_id
       WHERE l.order_id <= 3000 GROUP BY p.category ORDER BY p.category`
    )
  }))
}

async function linesTogether(query: Query, orders: readonly Row[]): Promise<readonly Row[]> {
  return await query(
    `SELECT l.order_id, l.product_id, p.name, l.quantity, l.price_cents
     FROM order_lines l JOIN products p ON p.id = l.product_id
     WHERE l.order_id = ANY($1) ORDER BY l.id`,
    [orders.map(({ id }) => id)]
  )
}

/** One query for each order, and one for each line's product: what an innocent loop does. */
async function linesOneByOne(query: Query, orders: readonly Row[]): Promise<readonly Row[]> {
  const lines: Row[] = []
  for (const { id } of orders) {
    const found = await query('SELECT * FROM order_lines WHERE order_id = $1 ORDER BY id', [id])
    for (const line of found) {
      const [named] = await query('SELECT name FROM products WHERE id = $1', [line.product_id])
      lines.push({ ...line, ...named })
    }
  }
  return lines
}

function shownOrder(each: Row, lines: readonly Row[]): Row {
  return {
    id: each.id,
    created_at: (each.created_at as Date).toISOString(),
    lines: lines.filter(({ order_id }) => order_id === each.id)
  }
}
