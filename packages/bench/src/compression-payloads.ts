import { mulberry32 } from './statistics.ts'

const NAMES =
  'Amsterdam,Bergen,Coimbra,Dresden,Eindhoven,Firenze,Gdansk,Haarlem,Innsbruck,Jena'.split(',')
const STATES = ['pending', 'paid', 'shipped', 'delivered', 'returned']
const WORDS =
  'light heavy steel wooden small large garden kitchen chair table lamp bottle knife blanket basket with without for and of'.split(
    ' '
  )

/** A JSON body like those of shops: orders with ids, times, prices, some text. At least so many bytes. */
export function jsonBody(bytes: number, seed: number): string {
  const random = mulberry32(seed)
  const below = (most: number): number => Math.floor(random() * most)
  const pick = (list: readonly string[]): string => list[below(list.length)]!
  const orders: unknown[] = []
  let length = 0
  while (length < bytes) {
    const order = {
      id: `${below(2 ** 32).toString(16)}-${below(2 ** 32).toString(16)}`,
      status: pick(STATES),
      created_at: new Date(1.75e12 + below(1e10)).toISOString(),
      customer: { id: below(1e6), city: pick(NAMES), newsletter: random() < 0.5 },
      lines: Array.from({ length: 1 + below(3) }, () => ({
        sku: `SKU-${below(1e5)}`,
        title: `${pick(WORDS)} ${pick(WORDS)} ${pick(WORDS)} ${pick(WORDS)}`,
        quantity: 1 + below(5),
        price: below(50_000) / 100,
        currency: 'EUR'
      }))
    }
    orders.push(order)
    length += JSON.stringify(order).length + 1
  }
  return JSON.stringify({ orders, total: orders.length, next: null })
}
