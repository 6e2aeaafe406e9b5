import { LocalBuckets } from './local-buckets.ts'
import type { Memory } from './local-buckets.ts'
import { shareOf } from './policy.ts'
import type { Policy } from './policy.ts'
import type { SharedStore } from './shared-store.ts'
import { newVerdict } from './verdict.ts'
import type { Verdict } from './verdict.ts'

/**
 * One limiter over the shared store, and what stands in for it: token buckets of this instance's
 * share of each quota. They stand in for fixed windows too, because what is not known of a window
 * should not be granted at once.
 */
export class ShareLimits {
  readonly #name: string
  readonly #policies: readonly Policy[]
  readonly #store: SharedStore
  readonly #memory: Memory
  readonly #now: () => number
  #share: LocalBuckets | undefined
  #instances = 0

  constructor(
    name: string,
    policies: readonly Policy[],
    store: SharedStore,
    memory: Memory,
    now: () => number
  ) {
    this.#name = name
    this.#policies = policies
    this.#store = store
    this.#memory = memory
    this.#now = now
  }

  async take(key: string, cost: number): Promise<Verdict> {
    if (this.#store.isUp) {
      const verdict = await this.#store.take(this.#name, this.#policies, key, cost)
      if (verdict !== undefined) return verdict
    }
    return this.takeShare(key, cost)
  }

  /** Decides by this instance's share alone. */
  takeShare(key: string, cost: number): Verdict {
    const verdict = newVerdict()
    verdict.isDegraded = true
    this.#buckets().take(key, cost, this.#now(), verdict)
    return verdict
  }

  async forget(key: string): Promise<boolean> {
    const ofShare = this.#share?.forget(key) ?? false
    return (await this.#store.forget(this.#name, this.#policies, key)) || ofShare
  }

  /** New ones when the number of instances has changed since the last time they were needed. */
  #buckets(): LocalBuckets {
    const { instances } = this.#store
    if (this.#share === undefined || instances !== this.#instances) {
      this.#instances = instances
      this.#share = new LocalBuckets(
        this.#policies.map((p) => asBucket(shareOf(p, instances))),
        this.#memory
      )
    }
    return this.#share
  }
}

function asBucket(policy: Policy): Policy {
  if (policy.kind === 'token-bucket') return policy
  const { name, size, windowMs } = policy
  return { kind: 'token-bucket', name, size, windowMs, tokensPerSecond: (size * 1000) / windowMs }
}
