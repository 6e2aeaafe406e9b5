import type { LatencyHistogram } from '../latency-histogram.ts'
import { MIN_EXPONENT, SUB_BITS, lowerBound } from '../log-scale.ts'

/** Buckets of a Prometheus native histogram: indices by schema, ascending, with their counts. */
export interface NativeBuckets {
  readonly zeroCount: number
  readonly zeroThreshold: number
  readonly indices: readonly number[]
  readonly counts: readonly number[]
}

/**
 * A latency histogram at a native schema. Bucket `i` of schema `n` ends at 2^(i / 2^n); ours are
 * schema 6, so a coarser one sums neighbours and nothing is estimated. What is below 4 µs is
 * Prometheus' zero bucket.
 *
 * @param schema -4 to 6
 */
export function nativeBuckets(histogram: LatencyHistogram, schema: number): NativeBuckets {
  const shift = SUB_BITS - schema
  const indices: number[] = []
  const counts: number[] = []
  let zeroCount = 0
  histogram.forEachBucket((bucket, count) => {
    if (bucket === 0) {
      zeroCount = count
      return
    }
    const finest = (MIN_EXPONENT << SUB_BITS) + bucket + 1
    const index = ((finest - 1) >> shift) + 1
    if (indices.at(-1) === index) counts[counts.length - 1]! += count
    else {
      indices.push(index)
      counts.push(count)
    }
  })
  return { zeroCount, zeroThreshold: lowerBound(1), indices, counts }
}

/** Stretches of neighbouring buckets: how far each starts after the last one's end, and its length. */
export function spansOf(indices: readonly number[]): { offset: number; length: number }[] {
  const spans: { offset: number; length: number }[] = []
  let next = 0
  for (const index of indices) {
    const span = spans.at(-1)
    if (span !== undefined && index === next) span.length++
    else spans.push({ offset: span === undefined ? index : index - next, length: 1 })
    next = index + 1
  }
  return spans
}
