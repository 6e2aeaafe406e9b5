import type { Query, Row } from './database.ts'

export interface CheckoutBody {
  readonly customer_id: number
  readonly lines: readonly { readonly product_id: number; readonly quantity: number }[]
}

/** The shop can't do what the customer asks. */
class CheckoutError extends Error {
  readonly statusCode: 404 | 409

  constructor(statusCode: 404 | 409, message: string) {
    super(message)
    this.statusCode = statusCode
  }
}

/**
 * Takes everything from stock and writes the order. Belongs in a transaction.
 * @throws CheckoutError for a customer that isn't there, or too little in stock
 */
export async function placeOrder(query: Query, body: CheckoutBody): Promise<Row> {
  const [customer] = await query('SELECT id FROM customers WHERE id = $1', [body.customer_id])
  if (customer === undefined) {
    throw new CheckoutError(404, `there is no customer ${body.customer_id}`)
  }
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
  { product_id, quantity }: CheckoutBody['lines'][number]
): Promise<number> {
  const [taken] = await query(
    'UPDATE products SET stock = stock - $2 WHERE id = $1 AND stock >= $2 RETURNING price_cents',
    [product_id, quantity]
  )
  if (taken === undefined) {
    throw new CheckoutError(409, `product ${product_id} is not in stock ${quantity} times`)
  }
  const price = Number(taken.price_cents)
  await query(
    'INSERT INTO order_lines (order_id, product_id, quantity, price_cents) VALUES ($1, $2, $3, $4)',
    [orderId, product_id, quantity, price]
  )
  return price * quantity
}
