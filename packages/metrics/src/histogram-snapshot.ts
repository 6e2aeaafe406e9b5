import { lowerBound, middleOf } from './log-scale.ts'

/** How a quantile is asked for: the answer is `undefined` where nothing was recorded. */
export interface Quantiles {
  readonly count: number
  quantile(q: number): number | undefined
}

/**
 * An immutable distribution: the buckets that hold anything, in ascending order, and their counts.
 * What windows, history and differences are made of. Space: 10 bytes a bucket that is not empty.
 */
export class HistogramSnapshot implements Quantiles {
  static readonly EMPTY: HistogramSnapshot = new HistogramSnapshot([], [])

  readonly indices: ArrayLike<number>
  readonly counts: ArrayLike<number>
  readonly count: number

  constructor(indices: ArrayLike<number>, counts: ArrayLike<number>) {
    this.indices = indices
    this.counts = counts
    let total = 0
    for (let i = 0; i < counts.length; i++) total += counts[i]!
    this.count = total
  }

  /**
   * Value below which a fraction `q` of the recorded values fall.
   *
   * @param q quantile in [0, 1]; 0.99 is p99
   * @returns seconds, within 1 % of the exact sample quantile (0.54 % for buckets at full
   *   resolution, 2.2 % in history older than a few minutes); `undefined` when nothing was recorded
   */
  quantile(q: number): number | undefined {
    if (this.count === 0) return undefined
    let left = rankOf(q, this.count)
    for (let i = 0; i < this.counts.length; i++) {
      left -= this.counts[i]!
      if (left <= 0) return middleOf(this.indices[i]!)
    }
    return undefined
  }

  /** Mean of the values that stand for the buckets, in seconds; `undefined` when empty. */
  get mean(): number | undefined {
    return this.count === 0 ? undefined : this.total / this.count
  }

  /** Sum of the values that stand for the buckets, in seconds. */
  get total(): number {
    let sum = 0
    for (let i = 0; i < this.counts.length; i++) sum += this.counts[i]! * middleOf(this.indices[i]!)
    return sum
  }

  /** Smallest and largest recorded value, as the values that stand for their buckets. */
  get range(): { readonly min: number; readonly max: number } | undefined {
    if (this.count === 0) return undefined
    return {
      min: middleOf(this.indices[0]!),
      max: middleOf(this.indices[this.indices.length - 1]!)
    }
  }

  /** How many values were above `seconds`; the bucket that holds the boundary counts as not above. */
  countAbove(seconds: number): number {
    let above = 0
    for (let i = this.counts.length - 1; i >= 0; i--) {
      if (lowerBound(this.indices[i]!) < seconds) break
      above += this.counts[i]!
    }
    return above
  }

  /** What was recorded between an earlier snapshot of the same histogram and this one. */
  since(earlier: HistogramSnapshot): HistogramSnapshot {
    return combine([this, earlier], (later, before) => Math.max(0, later - before))
  }

  static merge(parts: readonly HistogramSnapshot[]): HistogramSnapshot {
    if (parts.length === 1) return parts[0]!
    return combine(parts, (sum, count) => sum + count)
  }
}

/** One-based rank of a quantile among `count` sorted samples (nearest rank). */
export function rankOf(q: number, count: number): number {
  return Math.min(count, Math.max(1, Math.ceil(q * count)))
}

function combine(
  parts: readonly HistogramSnapshot[],
  operation: (first: number, other: number) => number
): HistogramSnapshot {
  const counts = new Map<number, number>()
  for (const [nth, part] of parts.entries()) {
    for (let i = 0; i < part.counts.length; i++) {
      const index = part.indices[i]!
      const before = counts.get(index)
      if (nth === 0) counts.set(index, part.counts[i]!)
      else counts.set(index, operation(before ?? 0, part.counts[i]!))
    }
  }
  const indices = [...counts.keys()]
    .filter((index) => counts.get(index)! > 0)
    .toSorted((a, b) => a - b)
  return new HistogramSnapshot(
    Uint16Array.from(indices),
    Float64Array.from(indices, (index) => counts.get(index)!)
  )
}
