import { VitalsDeclarationError, shown } from './errors.ts'
import { BUCKETS, bucketOf, lowerBound } from './log-scale.ts'

/**
 * Upper boundaries (`le`) of a classic Prometheus histogram, shared by all series of a family,
 * with a table that finds a value's bucket from its place on the logarithmic scale.
 */
export class BucketBounds {
  /** Finite upper boundaries, ascending. */
  readonly upper: readonly number[]
  /** For each logarithmic bucket, the first boundary that is not below it. */
  readonly first: Uint8Array

  /** @throws VitalsDeclarationError when the boundaries are not finite, positive and ascending */
  constructor(upper: readonly number[]) {
    const ascending = upper.every(
      (bound, i) => bound > (upper[i - 1] ?? 0) && Number.isFinite(bound)
    )
    if (!ascending || upper.length === 0 || upper.length > 200) {
      throw new VitalsDeclarationError(
        `bucket boundaries must be 1 to 200 positive finite numbers in ascending order, got ${shown(upper)}`
      )
    }
    this.upper = [...upper]
    this.first = Uint8Array.from({ length: BUCKETS }, (_, index) => {
      const low = index === 0 ? 0 : lowerBound(index)
      const found = upper.findIndex((bound) => bound >= low)
      return found === -1 ? upper.length : found
    })
  }

  /** Index of the bucket with `value <= le`; `upper.length` stands for `+Inf`. */
  indexOf(value: number, logIndex: number = bucketOf(value)): number {
    let index = this.first[logIndex]!
    while (value > this.upper[index]!) index++
    return index
  }
}

/** Exact counts by classic bucket, with the sum. About 0.2 KB for eleven boundaries. */
export class BucketCounts {
  readonly bounds: BucketBounds
  /** Not cumulative; the last one is `+Inf`. Doubles, so they are exact up to 2^53. */
  readonly counts: number[]
  sum = 0

  constructor(bounds: BucketBounds) {
    this.bounds = bounds
    this.counts = Array.from({ length: bounds.upper.length + 1 }, () => 0)
  }

  /** @param value at least 0 */
  record(value: number, logIndex: number = bucketOf(value)): void {
    this.counts[this.bounds.indexOf(value, logIndex)]!++
    this.sum += value
  }

  get count(): number {
    let total = 0
    for (const count of this.counts) total += count
    return total
  }

  merge(other: BucketCounts): void {
    if (other.counts.length !== this.counts.length) {
      throw new VitalsDeclarationError('histograms with different bucket boundaries do not merge')
    }
    for (let i = 0; i < this.counts.length; i++) this.counts[i]! += other.counts[i]!
    this.sum += other.sum
  }

  reset(): void {
    this.counts.fill(0)
    this.sum = 0
  }
}
