import { gaussian, mulberry32 } from './statistics.ts'

/** A source of durations in seconds. */
export type Distribution = (random: () => number) => number

/** Shapes that response times really have. */
export const DISTRIBUTIONS: Readonly<Record<string, Distribution>> = {
  'log-normal': (random) => 0.008 * Math.exp(gaussian(random)),
  bimodal: (random) =>
    random() < 0.9
      ? 0.002 * Math.exp(0.3 * gaussian(random))
      : 0.4 * Math.exp(0.3 * gaussian(random)),
  'Pareto tail': (random) => 0.001 / (1 - random()) ** (1 / 1.2)
}

/** The same numbers every time. */
export function draw(distribution: Distribution, size: number, seed: number): Float64Array {
  const random = mulberry32(seed)
  return Float64Array.from({ length: size }, () => distribution(random))
}
