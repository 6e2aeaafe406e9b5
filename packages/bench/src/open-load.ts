import { setTimeout as wait } from 'node:timers/promises'
import { Pool } from 'undici'

/** What became of requests that came at a steady rate. */
export interface OpenLoadFigures {
  readonly sent: number
  readonly ok: number
  readonly limited: number
  /** Neither 200 nor 429: errors, resets, anything else. */
  readonly failed: number
}

const CONNECTIONS = 100

/** Asks at a steady rate, whatever the answers do, until `seconds` have passed and all answered. */
export async function openLoad(
  port: number,
  perSecond: number,
  seconds: number
): Promise<OpenLoadFigures> {
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: CONNECTIONS, pipelining: 1 })
  const counts = { sent: 0, ok: 0, limited: 0, failed: 0 }
  const ask = async (): Promise<void> => {
    try {
      const { statusCode, body } = await pool.request({ path: '/', method: 'GET' })
      await body.dump()
      if (statusCode === 200) counts.ok++
      else if (statusCode === 429) counts.limited++
      else counts.failed++
    } catch {
      counts.failed++
    }
  }
  const asked: Promise<void>[] = []
  const startMs = performance.now()
  while (counts.sent < perSecond * seconds) {
    const due = Math.min(perSecond * seconds, ((performance.now() - startMs) / 1000) * perSecond)
    for (; counts.sent < due; counts.sent++) asked.push(ask())
    await wait(1)
  }
  await Promise.all(asked)
  await pool.close()
  return counts
}
