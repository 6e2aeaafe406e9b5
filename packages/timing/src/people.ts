import { BoundedLabel, OTHER } from '@fastify-vitals/metrics'
import type { HistogramFamily, Vitals } from '@fastify-vitals/metrics'
import type { Listener } from './recorder.ts'

/** Figures by who a request was for: the busiest by name, the others together. */
export function figuresBy(who: 'tenant' | 'user', most: number, vitals: Vitals): Listener {
  const family: HistogramFamily = vitals.histogram({
    name: `http_request_duration_by_${who}_seconds`,
    help: `Duration of HTTP requests in seconds, by ${who}`,
    labelNames: [who],
    buckets: vitals.durationBuckets
  })
  const label = new BoundedLabel(most)
  vitals.onSlot(() => {
    for (const lost of label.reelect()) {
      const series = family.with({ [who]: lost })
      family.with({ [who]: OTHER }).latency.merge(series.latency)
      family.drop(series)
    }
  })
  return (record, _status, seconds) => {
    const value = record[who]
    if (value !== undefined) family.with({ [who]: label.of(value) }).record(seconds)
  }
}
