import { setTimeout as wait } from 'node:timers/promises'
import { Pool } from 'undici'
import { seededRandom } from './random.ts'
import { CUSTOMERS, PRODUCTS } from './seed.ts'

/** One kind of visit, and how often it comes compared with the others. */
interface Visit {
  readonly weight: number
  readonly method: 'GET' | 'POST'
  readonly path: (pick: Pick) => string
  readonly body?: (pick: Pick) => unknown
  /** Milliseconds after which this visitor loses patience and hangs up. */
  readonly hangUpMs?: number
}

/** A whole number from 1 to `most`. */
type Pick = (most: number) => number

const WORDS = ['chair', 'lamp', 'oak', 'glass', 'clock', 'rug']
const CATEGORIES = ['garden', 'kitchen', 'office', 'bedroom', 'bath']

const VISITS: readonly Visit[] = [
  { weight: 30, method: 'GET', path: (pick) => `/products/${pick(PRODUCTS)}` },
  {
    weight: 20,
    method: 'GET',
    path: (pick) => `/products?category=${CATEGORIES[pick(5) - 1]}&after=${pick(8000)}`
  },
  { weight: 10, method: 'GET', path: (pick) => `/products/search?q=${WORDS[pick(6) - 1]}` },
  { weight: 14, method: 'GET', path: (pick) => `/customers/${pick(CUSTOMERS)}/orders` },
  { weight: 12, method: 'GET', path: (pick) => `/quote/${pick(300)}` },
  {
    weight: 6,
    method: 'POST',
    path: () => '/checkout',
    body: (pick) => ({
      customer_id: pick(CUSTOMERS),
      lines: [{ product_id: pick(PRODUCTS), quantity: pick(3) }]
    })
  },
  { weight: 2, method: 'GET', path: () => '/reports/sales' },
  { weight: 3, method: 'GET', path: (pick) => `/no-such-page/${pick(1_000_000)}` },
  { weight: 2, method: 'GET', path: (pick) => `/quote/${pick(PRODUCTS)}`, hangUpMs: 2 }
]

/** Visitors come from so many addresses. */
const ADDRESSES = 250

const TOTAL_WEIGHT = VISITS.reduce((sum, { weight }) => sum + weight, 0)
const CONNECTIONS = 40
const MOST_IN_FLIGHT = 500

export interface TrafficOptions {
  /** Where the shop is. */
  readonly origin: string
  /** Visits a second. They come when they come: a slow shop does not slow its visitors. */
  readonly ratePerSecond: number
  readonly seed: number
}

/** What the visitors saw. */
export interface TrafficCounts {
  sent: number
  answered: number
  /** Answers that told the visitor to come again later. */
  limited: number
  /** Visits that got no answer, those who hung up included. */
  unanswered: number
  /** Visits meant to hang up early, answered or not. */
  impatient: number
  /** Visits left out because too many were under way. */
  skipped: number
}

/** Visitors of the shop: an open loop, the same every time for the same seed. */
export class Traffic {
  readonly counts: TrafficCounts = {
    sent: 0,
    answered: 0,
    limited: 0,
    unanswered: 0,
    impatient: 0,
    skipped: 0
  }
  readonly #pool: Pool
  readonly #ratePerSecond: number
  readonly #random: () => number
  readonly #underWay = new Set<Promise<void>>()
  #isClosed = false

  constructor(options: TrafficOptions) {
    this.#pool = new Pool(options.origin, { connections: CONNECTIONS, headersTimeout: 10_000 })
    this.#ratePerSecond = options.ratePerSecond
    this.#random = seededRandom(options.seed)
  }

  /** Sends visitors for so many seconds, in random gaps as independent people come. */
  async run(seconds: number): Promise<void> {
    const endMs = performance.now() + seconds * 1000
    let dueMs = performance.now()
    while (dueMs < endMs && !this.#isClosed) {
      dueMs += (-Math.log(1 - this.#random()) / this.#ratePerSecond) * 1000
      const early = dueMs - performance.now()
      if (early > 1) await wait(early)
      this.#visit()
    }
    await Promise.all(this.#underWay)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#pool.destroy()
  }

  #visit(): void {
    const visit = this.#choose()
    if (this.#underWay.size >= MOST_IN_FLIGHT) {
      this.counts.skipped++
      return
    }
    this.counts.sent++
    if (visit.hangUpMs !== undefined) this.counts.impatient++
    const done: Promise<void> = this.#send(visit).finally(() => this.#underWay.delete(done))
    this.#underWay.add(done)
  }

  async #send(visit: Visit): Promise<void> {
    const pick: Pick = (most) => 1 + Math.floor(this.#random() * most)
    const body = visit.body === undefined ? null : JSON.stringify(visit.body(pick))
    try {
      const { statusCode, body: answer } = await this.#pool.request({
        method: visit.method,
        path: visit.path(pick),
        headers: headersOf(`198.51.100.${pick(ADDRESSES)}`, body !== null),
        body,
        signal: visit.hangUpMs === undefined ? null : AbortSignal.timeout(visit.hangUpMs)
      })
      await answer.dump()
      this.counts.answered++
      if (statusCode === 429) this.counts.limited++
    } catch {
      this.counts.unanswered++
    }
  }

  #choose(): Visit {
    let at = this.#random() * TOTAL_WEIGHT
    return VISITS.find(({ weight }) => (at -= weight) < 0) ?? VISITS[0]!
  }
}

/** What a visitor's browser sends, and the proxy that stands in front of the shop. */
function headersOf(address: string, hasBody: boolean): Record<string, string> {
  const headers = { 'accept-encoding': 'gzip, deflate, br', 'x-forwarded-for': address }
  return hasBody ? { ...headers, 'content-type': 'application/json' } : headers
}
