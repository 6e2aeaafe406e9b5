import type { FastifyRequest } from 'fastify'
import type { RequestRecord } from '@fastify-vitals/metrics'
import { breakdownOf } from './breakdown.ts'
import type { ResolvedTimingOptions } from './options.ts'
import { rawHeader } from './raw-headers.ts'

/** Whether a request gets a `Server-Timing` header; `undefined` when none ever does. */
export function serverTimingRule(
  options: Pick<ResolvedTimingOptions, 'serverTiming' | 'allowTrace'>
): ((request: FastifyRequest) => boolean) | undefined {
  const { serverTiming, allowTrace } = options
  if (serverTiming === 'never') return undefined
  if (serverTiming === 'always') return () => true
  return (request) =>
    rawHeader(request.raw.rawHeaders, 'x-trace')?.toLowerCase() === 'true' &&
    allowTrace?.(request) === true
}

/**
 * The value of `Server-Timing`: the total until the payload was serialised, and its parts.
 * @see https://www.w3.org/TR/server-timing/
 */
export function serverTimingValue(record: RequestRecord, nowMs: number): string {
  const parts = breakdownOf(record, nowMs)
  const entries = Object.entries({ total: nowMs - record.startMs, ...parts })
  return entries.map(([name, ms]) => `${name};dur=${ms.toFixed(3)}`).join(', ')
}
