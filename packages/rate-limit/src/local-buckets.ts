import type { KeyHash } from './key-hash.ts'
import type { KeyTable } from './key-table.ts'
import type { Policy } from './policy.ts'
import { TokenBucket } from './token-bucket.ts'
import type { Verdict } from './verdict.ts'

/** The memory that all limiters of an app share. */
export interface Memory {
  readonly table: KeyTable
  readonly hash: KeyHash
  /** A number that no other limiter has. */
  nextSpace(): number
}

interface PolicyBucket {
  /** Its place among all policies of the limiter. */
  readonly place: number
  readonly size: number
  readonly bucket: TokenBucket
  /** Tells the keys of one policy from those of another. */
  readonly salt: number
}

/** The token buckets of one limiter: all policies let a request in, or none takes anything. */
export class LocalBuckets {
  readonly #memory: Memory
  readonly #space: number
  readonly #policies: readonly PolicyBucket[]
  readonly #next: Float64Array

  constructor(policies: readonly Policy[], memory: Memory) {
    this.#memory = memory
    this.#space = memory.nextSpace()
    this.#policies = policies.flatMap((policy, place) =>
      policy.kind === 'token-bucket'
        ? [
            {
              place,
              size: policy.size,
              bucket: new TokenBucket(policy.tokensPerSecond, policy.size),
              salt: Math.imul(place, 0x9e3779b1)
            }
          ]
        : []
    )
    this.#next = new Float64Array(this.#policies.length)
  }

  get isEmpty(): boolean {
    return this.#policies.length === 0
  }

  /** Takes the cost from every bucket, or from none. The verdict is written into `verdict`. */
  take(key: string, cost: number, nowMs: number, verdict: Verdict): void {
    const { hash, table } = this.#memory
    const policies = this.#policies
    hash.of(this.#space, key)
    const { high, low } = hash
    let isAllowed = true
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i]!
      const was = table.find((high ^ policy.salt) >>> 0, low, nowMs)
      const next = policy.bucket.take(was, nowMs, cost)
      const waitMs = policy.bucket.waitMs(next, nowMs)
      this.#next[i] = next
      if (waitMs > 0 && (isAllowed || waitMs > verdict.waitMs)) {
        isAllowed = false
        report(verdict, policy, policy.bucket.tokens(was, nowMs), was - nowMs, waitMs)
      }
    }
    verdict.isAllowed = isAllowed
    if (isAllowed) this.#commit(high, low, nowMs, verdict)
  }

  /** Forgets a key: its buckets are full again. */
  forget(key: string): boolean {
    const { hash, table } = this.#memory
    hash.of(this.#space, key)
    const { high, low } = hash
    const before = table.size
    for (const { salt } of this.#policies) {
      table.find((high ^ salt) >>> 0, low, 0)
      table.remove()
    }
    return table.size < before
  }

  #commit(high: number, low: number, nowMs: number, verdict: Verdict): void {
    const { table } = this.#memory
    const policies = this.#policies
    let scarcest = 2
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i]!
      const next = this.#next[i]!
      // with one policy the search for it was the last one
      if (policies.length > 1) table.find((high ^ policy.salt) >>> 0, low, nowMs)
      table.put(next, nowMs)
      const remaining = policy.bucket.tokens(next, nowMs)
      if (remaining / policy.size < scarcest) {
        scarcest = remaining / policy.size
        report(verdict, policy, remaining, next - nowMs, 0)
      }
    }
  }
}

function report(
  verdict: Verdict,
  policy: PolicyBucket,
  remaining: number,
  resetMs: number,
  waitMs: number
): void {
  verdict.policy = policy.place
  verdict.remaining = remaining
  verdict.resetMs = resetMs > 0 ? resetMs : 0
  verdict.waitMs = waitMs
}
