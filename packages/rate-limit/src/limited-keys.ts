import { createHmac, randomBytes } from 'node:crypto'
import { FrequentItems } from '@fastify-vitals/metrics'

const CANDIDATES_PER_PLACE = 8
const LONGEST_SHOWN = 64

/** The keys that were refused most often, in bounded memory. */
export class LimitedKeys {
  readonly #most: number
  readonly #isPlain: boolean
  readonly #counts: FrequentItems | undefined
  /** Of this process only: what is shown can't be turned back by trying all addresses. */
  readonly #secret = randomBytes(32)

  constructor(most: number, show: 'hashed' | 'plain') {
    this.#most = most
    this.#isPlain = show === 'plain'
    this.#counts = most === 0 ? undefined : new FrequentItems(most * CANDIDATES_PER_PLACE)
  }

  add(key: string): void {
    this.#counts?.add(this.#isPlain ? key.slice(0, LONGEST_SHOWN) : this.#hashed(key))
  }

  /** The most refused, and how often at least. */
  top(): readonly { readonly key: string; readonly count: number }[] {
    return this.#counts?.top(this.#most) ?? []
  }

  clear(): void {
    this.#counts?.clear()
  }

  #hashed(key: string): string {
    return createHmac('sha256', this.#secret).update(key).digest('hex').slice(0, 16)
  }
}
