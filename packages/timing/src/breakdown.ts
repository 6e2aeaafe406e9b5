import type { RequestRecord } from '@fastify-vitals/metrics'

/** Milliseconds by where they went. `handler` is what no other part explains. */
export type Breakdown = Readonly<Record<string, number>>

/** Where the time of a request went; parts that took none are left out. */
export function breakdownOf(record: RequestRecord, nowMs: number): Breakdown {
  const parts: Record<string, number> = {}
  for (const [name, part] of record.parts) parts[name] = part.totalMs(nowMs)
  const { detail } = record
  if (detail !== null && detail.replyMs > 0) {
    const repliedMs = detail.repliedMs || nowMs
    parts.serialisation = repliedMs - detail.replyMs
    parts.send = nowMs - repliedMs
  }
  const explained = Object.values(parts).reduce((sum, ms) => sum + ms, 0)
  const handler = Math.max(0, nowMs - record.startMs - explained)
  return { handler: round(handler), ...mapValues(parts, round) }
}

function mapValues(
  record: Readonly<Record<string, number>>,
  change: (value: number) => number
): Record<string, number> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]))
}

/** To microseconds. */
function round(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
