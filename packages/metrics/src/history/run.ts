/**
 * What a stretch of time added to all histograms: `(series, bucket)` keys in ascending order, and
 * how often each was hit. Eight bytes an entry, and nothing for what was quiet.
 */
export interface Run {
  readonly keys: Uint32Array
  readonly counts: Uint32Array
}

/** Bits of a key that hold the bucket; the rest is the series. */
const BUCKET_BITS = 11
export const MAX_SERIES_ID: number = 2 ** (32 - BUCKET_BITS) - 1
const BUCKET_MASK = 2 ** BUCKET_BITS - 1

export const EMPTY_RUN: Run = { keys: new Uint32Array(0), counts: new Uint32Array(0) }

export function keyOf(seriesId: number, bucket: number): number {
  return ((seriesId << BUCKET_BITS) | bucket) >>> 0
}

export function bucketOfKey(key: number): number {
  return key & BUCKET_MASK
}

/** Sums runs; a tree of two-way merges, so n entries in k runs take n·log(k) steps. */
export function mergeRuns(runs: readonly Run[]): Run {
  if (runs.length === 0) return EMPTY_RUN
  if (runs.length === 1) return runs[0]!
  const half = runs.length >> 1
  return mergeTwo(mergeRuns(runs.slice(0, half)), mergeRuns(runs.slice(half)))
}

function mergeTwo(a: Run, b: Run): Run {
  const keys = new Uint32Array(a.keys.length + b.keys.length)
  const counts = new Uint32Array(keys.length)
  let i = 0
  let j = 0
  let size = 0
  while (i < a.keys.length || j < b.keys.length) {
    const left = i < a.keys.length ? a.keys[i]! : Infinity
    const right = j < b.keys.length ? b.keys[j]! : Infinity
    keys[size] = Math.min(left, right)
    counts[size++] = (left <= right ? a.counts[i++]! : 0) + (right <= left ? b.counts[j++]! : 0)
  }
  return { keys: keys.slice(0, size), counts: counts.slice(0, size) }
}

const COARSE_BITS = 2

/**
 * The same run at a quarter of the resolution: 16 buckets to the octave, each told as its second
 * inner boundary, so that a value is off by at most 2.2 %. For what is minutes old.
 */
export function coarsen(run: Run): Run {
  const keys = new Uint32Array(run.keys.length)
  const counts = new Uint32Array(run.keys.length)
  let size = 0
  for (let i = 0; i < run.keys.length; i++) {
    const key = (((run.keys[i]! >>> COARSE_BITS) << COARSE_BITS) | (1 << (COARSE_BITS - 1))) >>> 0
    if (size > 0 && keys[size - 1] === key) counts[size - 1]! += run.counts[i]!
    else {
      keys[size] = key
      counts[size++] = run.counts[i]!
    }
  }
  return { keys: keys.slice(0, size), counts: counts.slice(0, size) }
}

/** Where the entries of one series stand: [from, to). Logarithmic in the size of the run. */
export function rangeOf(run: Run, seriesId: number): readonly [from: number, to: number] {
  return [
    lowerIndex(run.keys, keyOf(seriesId, 0)),
    lowerIndex(run.keys, keyOf(seriesId, BUCKET_MASK) + 1)
  ]
}

function lowerIndex(keys: Uint32Array, key: number): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (keys[middle]! < key) low = middle + 1
    else high = middle
  }
  return low
}
