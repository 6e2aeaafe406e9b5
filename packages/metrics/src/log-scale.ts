/**
 * The scale of every latency histogram: 64 buckets to the octave, from 2^-18 s (4 µs) to 2^12 s
 * (68 minutes). Bucket `i` holds values in (2^(-18 + i/64), 2^(-18 + (i+1)/64)].
 *
 * These are the boundaries of Prometheus' native histograms at schema 6, so an export is a copy,
 * and a coarser one only adds neighbours. A value stands for its bucket with a relative error of
 * at most (2^(1/64) - 1) / (2^(1/64) + 1) = 0.54 %.
 *
 * Bucket 0 also takes everything smaller, zero included; the last one everything larger.
 *
 * @see https://prometheus.io/docs/specs/native_histograms/
 */
export const SUB_BITS = 6
export const BUCKETS_PER_OCTAVE: number = 1 << SUB_BITS
export const MIN_EXPONENT = -18
export const OCTAVES = 30
export const BUCKETS: number = OCTAVES << SUB_BITS

const EXPONENT_OFFSET = 1023 + MIN_EXPONENT
const SLOT_BITS = 8
const float = new Float64Array(1)
const words = new Uint32Array(float.buffer)
const HIGH = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0

/** Boundaries inside one octave: 2^(j/64), j = 0..64. */
const BOUND = Float64Array.from({ length: BUCKETS_PER_OCTAVE + 1 }, (_, j) => 2 ** (j / 64))

/**
 * For each 256th of an octave, the bucket its start falls into (-1: the last one of the octave
 * below). A slot is narrower than any bucket, so one comparison finishes the search.
 */
const SLOT = Int8Array.from({ length: 1 << SLOT_BITS }, (_, slot) => {
  const start = 1 + slot / (1 << SLOT_BITS)
  return BOUND.findIndex((bound) => bound >= start) - 1
})

/**
 * Index of the bucket that holds `value`.
 *
 * @param value at least 0; the caller refuses NaN and negative numbers
 */
export function bucketOf(value: number): number {
  float[0] = value
  const high = words[HIGH]!
  const octave = (high >>> 20) - EXPONENT_OFFSET
  if (octave < 0) return 0
  if (octave >= OCTAVES) return BUCKETS - 1
  const mantissa = high & 0xfffff
  words[HIGH] = mantissa | 0x3ff00000
  const sub = SLOT[mantissa >>> (20 - SLOT_BITS)]!
  const index = (octave << SUB_BITS) + (float[0] > BOUND[sub + 1]! ? sub + 1 : sub)
  return index < 0 ? 0 : index
}

/** Exclusive lower boundary of a bucket. */
export function lowerBound(index: number): number {
  return 2 ** (MIN_EXPONENT + index / BUCKETS_PER_OCTAVE)
}

/** The value that stands for a bucket: the one whose relative error to both boundaries is equal. */
export function middleOf(index: number): number {
  const low = lowerBound(index)
  const high = lowerBound(index + 1)
  return (2 * low * high) / (low + high)
}
