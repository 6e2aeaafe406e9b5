import { FrequentItems } from './frequent-items.ts'
import { OTHER } from './series-labels.ts'

const CANDIDATES_PER_PLACE = 8
const LONGEST_KEY = 128

/**
 * Lets only the `k` busiest values of an open set (tenants, users, keys) become label values; all
 * others share `_OTHER`. Until the places are taken, first come is first served; at every
 * `reelect` the busiest get them.
 *
 * Space: 9k short strings, however many values there are.
 */
export class BoundedLabel {
  readonly #k: number
  readonly #candidates: FrequentItems
  #admitted = new Set<string>()

  /** @param k most values at a time, at least 1 */
  constructor(k: number) {
    this.#k = k
    this.#candidates = new FrequentItems(k * CANDIDATES_PER_PLACE)
  }

  /** Counts the value. @returns the value itself, cut to 128 characters, or `_OTHER` */
  of(value: string): string {
    const key = value.length > LONGEST_KEY ? value.slice(0, LONGEST_KEY) : value
    this.#candidates.add(key)
    if (this.#admitted.has(key)) return key
    if (this.#admitted.size >= this.#k) return OTHER
    this.#admitted.add(key)
    return key
  }

  /** Gives the places to the busiest. @returns the values that lost theirs */
  reelect(): string[] {
    const next = new Set(this.#candidates.top(this.#k).map(({ key }) => key))
    const lost = [...this.#admitted].filter((key) => !next.has(key))
    this.#admitted = next
    return lost
  }
}
