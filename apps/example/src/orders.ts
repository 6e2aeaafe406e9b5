import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { notFound } from './catalogue.ts'
import type { Database, Query, Row } from './database.ts'
import type { Faults } from './faults.ts'
import { idParameter, order, problem } from './schemas.ts'

const LATEST = 50

const LINES = `SELECT l.order_id, l.product_id, p.name, l.quantity, l.price_cents
  FROM order_lines l JOIN products p ON p.id = l.product_id`

const checkoutBody = Type.Object({
  customer_id: Type.Integer({ minimum: 1 }),
  lines: Type.Array(
    Type.Object({
      product_id: Type.Integer({ minimum: 1 }),
      quantity: Type.Integer({ minimum: 1, maximum: 1_000_000_000 })
    }),
    { minItems: 1, maxItems: 50 }
  )
})

interface CheckoutBody {
  customer_id: number
  lines: readonly { product_id: number; quantity: number }[]
}

/** The shop can't do what the customer asks. */
class CheckoutError extends Error {
  readonly statusCode: 404 | 409

  constructor(statusCode: 404 | 409, message: string) {
    super(message)
    this.statusCode = statusCode
  }
}

/** A customer's orders, checkout, and the report on sales. */
export function orderRoutes(app: FastifyInstance, database: Database, faults: Faults): void {
  app.get<{ Params: { id: number } }>(
    '/customers/:id/orders',
    {
      schema: {
        params: idParameter,
        response: { 200: Type.Object({ orders: Type.Array(order) }), 404: problem }
      }
    },
    async ({ params }, reply) => {
      const [customer] = await database.query('SELECT id FROM customers WHERE id = $1', [params.id])
      if (customer === undefined)
        return await reply.code(404).send(notFound(`customer ${params.id}`))
      const orders = await database.query(
        'SELECT id, created_at FROM orders WHERE customer_id = $1 ORDER BY id DESC LIMIT $2',
        [params.id, LATEST]
      )
      const lines = faults.get('n-plus-one')
        ? await linesOneByOne(database.query, orders)
        : await linesTogether(database.query, orders)
      return { orders: orders.map((each) => shownOrder(each, lines)) }
    }
  )

  app.post<{ Body: CheckoutBody }>(
    '/checkout',
    {
      schema: {
        body: checkoutBody,
        response: {
          201: Type.Object({ order_id: Type.Integer(), total_cents: Type.Integer() }),
          404: problem,
          409: problem
        }
      }
    },
    async ({ body }, reply) => {
      const placed = await database.transaction(async (query) => await place(query, body))
      return await reply.code(201).send(placed)
    }
  )

  const sales = Type.Object({
    category: Type.String(),
    lines: Type.Integer(),
    cents: Type.Integer()
  })
  app.get(
    '/reports/sales',
    { schema: { response: { 200: Type.Object({ categories: Type.Array(sales) }) } } },
    async () => ({
      categories: await database.query(
        `SELECT p.category, count(*)::int AS lines, sum(l.quantity * l.price_cents)::bigint AS cents
         FROM order_lines l JOIN products p ON p.id = l.product_id
         WHERE l.order_id <= 3000 GROUP BY p.category ORDER BY p.category`
      )
    })
  )
}

async function linesTogether(query: Query, orders: readonly Row[]): Promise<readonly Row[]> {
  return await query(`${LINES} WHERE l.order_id = ANY($1) ORDER BY l.id`, [
    orders.map(({ id }) => id)
  ])
}

/** One query for each order, and one for each line's product: what an innocent loop does. */
async function linesOneByOne(query: Query, orders: readonly Row[]): Promise<readonly Row[]> {
  const lines: Row[] = []
  for (const { id } of orders) {
    for (const line of await query('SELECT * FROM order_lines WHERE order_id = $1', [id])) {
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

async function place(query: Query, body: CheckoutBody): Promise<Row> {
  const [customer] = await query('SELECT id FROM customers WHERE id = $1', [body.customer_id])
  if (customer === undefined)
    throw new CheckoutError(404, `there is no customer ${body.customer_id}`)
  const [placed] = await query(
    'INSERT INTO orders (customer_id, created_at) VALUES ($1, now()) RETURNING id',
    [body.customer_id]
  )
  let totalCents = 0
  // in the order of products, so that two checkouts can't wait for each other
  for (const line of body.lines.toSorted((a, b) => a.product_id - b.product_id)) {
    totalCents += await takeFromStock(query, Number(placed!.id), line)
  }
  return { order_id: placed!.id, total_cents: totalCents }
}

async function takeFromStock(
  query: Query,
  orderId: number,
  line: CheckoutBody['lines'][number]
): Promise<number> {
  const [taken] = await query(
    'UPDATE products SET stock = stock - $2 WHERE id = $1 AND stock >= $2 RETURNING price_cents',
    [line.product_id, line.quantity]
  )
  if (taken === undefined) {
    throw new CheckoutError(
      409,
      `product ${line.product_id} is not in stock ${line.quantity} times`
    )
  }
  const price = Number(taken.price_cents)
  await query(
    `INSERT INTO order_lines (order_id, product_id, quantity, price_cents) VALUES ($1, $2, $3, $4)`,
    [orderId, line.product_id, line.quantity, price]
  )
  return price * line.quantity
}
