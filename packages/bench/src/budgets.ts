import { bootstrap } from './statistics.ts'
import type { Estimate } from './statistics.ts'

/** What a variant may add to a request, in microseconds or as a share of what peers add. */
export interface Budget {
  readonly variant: string
  /** Added microseconds at most; only dispatch is quiet enough to judge by it. */
  readonly maxUs?: number
  /** At most this share of what `peers` add together. */
  readonly maxShare?: number
  readonly peers?: readonly string[]
}

export const BUDGETS: readonly Budget[] = [
  { variant: 'vitals: timing', maxUs: 0.5 },
  { variant: 'vitals: timing', maxShare: 1 / 8, peers: ['fastify-metrics'] },
  { variant: 'vitals: rate-limit (no headers)', maxUs: 0.25 },
  { variant: 'vitals: rate-limit', maxUs: 0.65 },
  { variant: 'vitals: rate-limit', maxShare: 0.75, peers: ['@fastify/rate-limit'] },
  {
    variant: 'vitals: rate-limit (fixed window)',
    maxShare: 1.1,
    peers: ['@fastify/rate-limit (no headers)']
  },
  { variant: 'vitals: overload', maxUs: 0.2 },
  { variant: 'vitals: compression', maxShare: 1.1, peers: ['@fastify/compress'] },
  {
    variant: 'vitals: all',
    maxShare: 1 / 3,
    peers: [
      'fastify-metrics',
      '@fastify/request-context',
      '@fastify/rate-limit',
      '@fastify/under-pressure',
      '@fastify/circuit-breaker',
      '@fastify/compress'
    ]
  }
]

/** The words in which a budget is reported. */
export function claimOf(budget: Budget, value: Estimate): string {
  const shown = `${value.median.toFixed(2)} (${value.low.toFixed(2)}–${value.high.toFixed(2)})`
  return budget.maxUs === undefined
    ? `${budget.variant} adds at most ${budget.maxShare!.toFixed(3)} of ${budget.peers!.join(' + ')}: ${shown}`
    : `${budget.variant} adds at most ${budget.maxUs} µs: ${shown}`
}

/** Whether a run has all that a budget is about. */
export function isMeasured(budget: Budget, variants: ReadonlySet<string>): boolean {
  return [budget.variant, ...(budget.peers ?? [])].every((name) => variants.has(name))
}

/**
 * The figure that a budget limits.
 * @param addedOver microseconds that a variant added to bare, over a selection of rounds
 */
export function valueOf(
  budget: Budget,
  rounds: number,
  addedOver: (variant: string, chosen: readonly number[]) => number
): Estimate {
  const { variant, peers } = budget
  return bootstrap(rounds, (chosen) => {
    const own = addedOver(variant, chosen)
    if (peers === undefined) return own
    return own / peers.reduce((sum, peer) => sum + addedOver(peer, chosen), 0)
  })
}

/** `undefined` when the interval spans the budget. */
export function keeps({ low, high }: Estimate, limit: number): boolean | undefined {
  if (high <= limit) return true
  return low > limit ? false : undefined
}
