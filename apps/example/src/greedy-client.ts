import { setTimeout as wait } from 'node:timers/promises'
import { Pool } from 'undici'

/** What one client saw that asks too much. */
export interface GreedyCounts {
  served: number
  limited: number
  other: number
  /** Seconds that it was last told to wait. */
  retryAfterSeconds: number | undefined
}

/** Asks for one page at a steady rate from one address, whatever it is told. */
export async function askGreedily(
  origin: string,
  address: string,
  ratePerSecond: number,
  seconds: number
): Promise<GreedyCounts> {
  const counts: GreedyCounts = { served: 0, limited: 0, other: 0, retryAfterSeconds: undefined }
  const pool = new Pool(origin, { connections: 10 })
  const asked: Promise<void>[] = []
  const startMs = performance.now()
  for (let i = 0; i < ratePerSecond * seconds; i++) {
    const early = startMs + (i * 1000) / ratePerSecond - performance.now()
    if (early > 1) await wait(early)
    asked.push(ask(pool, address, counts))
  }
  await Promise.all(asked)
  await pool.close()
  return counts
}

async function ask(pool: Pool, address: string, counts: GreedyCounts): Promise<void> {
  try {
    const { statusCode, headers, body } = await pool.request({
      path: '/products/1',
      method: 'GET',
      headers: { 'x-forwarded-for': address }
    })
    await body.dump()
    if (statusCode === 200) counts.served++
    else if (statusCode === 429) {
      counts.limited++
      counts.retryAfterSeconds = Number(headers['retry-after'])
    } else counts.other++
  } catch {
    counts.other++
  }
}
