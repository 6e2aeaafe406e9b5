import type { FastifyRequest } from 'fastify'
import type { FixedWindows, LimitCall } from './fixed-windows.ts'
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

  /** Decides, maybe after another store has been asked. */
  take(request: FastifyRequest, call: LimitCall, decide: (verdict: Verdict) => void): void {
    const { parts } = this
    if (parts.kind === 'buckets') decide(this.takeNow(parts.buckets, call.key, call.cost))
    else if (parts.kind === 'shared') void parts.shared.take(call.key, call.cost).then(decide)
    else if (parts.buckets.isEmpty) parts.windows.take(request, call, decide)
    else {
      const { windows, buckets } = parts
      windows.take(request, call, (verdict) =>
        decide(this.#withBuckets(verdict, windows, buckets, call))
      )
    }
  }

  /** What the windows granted must be granted by the buckets too, or is given back. */
  #withBuckets(
    verdict: Verdict,
    windows: FixedWindows,
    buckets: LocalBuckets,
    call: LimitCall
  ): Verdict {
    if (!verdict.isAllowed) return verdict
    const ofBuckets = this.takeNow(buckets, call.key, call.cost)
    if (!ofBuckets.isAllowed) windows.giveBack(call)
    else if (this.#share(verdict) < this.#share(ofBuckets)) return verdict
    return ofBuckets
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
