/** A median with its 95 % interval. */
export interface Estimate {
  readonly median: number
  readonly low: number
  readonly high: number
}

const RESAMPLES = 2000

/** Middle of the sorted values; the mean of the two middle ones when there are two. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return NaN
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2
}

/**
 * A statistic of paired rounds with its bootstrap interval: rounds are drawn whole, so what the
 * machine did in a round counts for all that was measured in it. Seeded: the same data give the
 * same interval.
 *
 * @param rounds number of rounds
 * @param statistic of a selection of rounds, given by their indices
 */
export function bootstrap(
  rounds: number,
  statistic: (chosen: readonly number[]) => number
): Estimate {
  const random = mulberry32(0x5eed)
  const all = Array.from({ length: rounds }, (_, i) => i)
  const drawn = Array.from({ length: RESAMPLES }, () =>
    statistic(all.map(() => Math.floor(random() * rounds)))
  ).toSorted((a, b) => a - b)
  const at = (q: number): number => drawn[Math.min(RESAMPLES - 1, Math.floor(q * RESAMPLES))]!
  return { median: statistic(all), low: at(0.025), high: at(0.975) }
}

/** Median of some values, with its interval. */
export function estimate(values: readonly number[]): Estimate {
  return bootstrap(values.length, (chosen) => median(chosen.map((i) => values[i]!)))
}

/** A small seeded generator of numbers in [0, 1). */
export function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** One value of a normal distribution with mean 0 and deviation 1 (Box–Muller). */
export function gaussian(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}
