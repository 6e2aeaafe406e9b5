import type { FastifyRequest } from 'fastify'
import type { FixedWindows } from './fixed-windows.ts'
import type { LocalBuckets } from './local-buckets.ts'
import type { Policy } from './policy.ts'
import type { ShareLimits } from './share-limits.ts'
import { newVerdict } from './verdict.ts'
import type { Verdict } from './verdict.ts'

/** Where a limiter keeps its counts. */
export type LimiterParts =
  | { readonly kind: 'buckets'; readonly buckets: LocalBuckets }
  | { readonly kind: 'windows'; readonly buckets: LocalBuckets; readonly windows: FixedWindows }
  | { readonly kind: 'shared'; readonly shared: ShareLimits }

/** The policies of one route, of a group of routes, or of the whole app, and their counts. */
export class Limiter {
  readonly name: string
  readonly policies: readonly Policy[]
  readonly parts: LimiterParts
  readonly #now: () => number
  /** Written anew by each `takeNow`. */
  readonly #verdict = newVerdict()

  constructor(name: string, policies: readonly Policy[], parts: LimiterParts, now: () => number) {
    this.name = name
    this.policies = policies
    this.parts = parts
    this.#now = now
  }

  /** The most that a request may cost. */
  get maxCost(): number {
    return Math.min(...this.policies.map(({ size }) => size))
  }

  /** Decides at once. Only for limiters of token buckets in memory. */
  takeNow(buckets: LocalBuckets, key: string, cost: number): Verdict {
    buckets.take(key, cost, this.#now(), this.#verdict)
    return this.#verdict
  }

  /** Decides, when another store has been asked. */
  async take(request: FastifyRequest, key: string, cost: number): Promise<Verdict> {
    const { parts } = this
    if (parts.kind === 'shared') return await parts.shared.take(key, cost)
    if (parts.kind === 'buckets') return this.takeNow(parts.buckets, key, cost)
    const verdict = await parts.windows.take(request, key, cost)
    if (!verdict.isAllowed || parts.buckets.isEmpty) return verdict
    const ofBuckets = this.takeNow(parts.buckets, key, cost)
    if (!ofBuckets.isAllowed) parts.windows.giveBack({ key, cost })
    return ofBuckets.isAllowed && this.#share(verdict) < this.#share(ofBuckets)
      ? verdict
      : ofBuckets
  }

  /** Forgets a key, as if it had never asked. @returns whether there was anything to forget */
  async forget(key: string): Promise<boolean> {
    const { parts } = this
    if (parts.kind === 'shared') return await parts.shared.forget(key)
    const ofBuckets = parts.buckets.forget(key)
    const ofWindows = parts.kind === 'windows' && parts.windows.forget(key)
    return ofBuckets || ofWindows
  }

  #share({ remaining, policy }: Verdict): number {
    return remaining / this.policies[policy]!.size
  }
}
