/**
 * The most frequent keys of an endless stream, in bounded memory: Misra–Gries counters, purged by
 * the median as in Apache DataSketches' frequent-items sketch, so a record takes constant time on
 * average. A key's count is too low by at most `error`, never too high.
 *
 * @see https://datasketches.apache.org/docs/Frequency/FrequentItemsOverview.html
 */
export class FrequentItems {
  /** No count is too low by more than this. */
  error = 0
  readonly #capacity: number
  readonly #counts = new Map<string, number>()

  /** @param capacity most keys held at once, at least 2 */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  add(key: string, amount: number = 1): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + amount)
    if (this.#counts.size > this.#capacity) this.#purge()
  }

  /** The `k` keys with the highest counts, highest first. */
  top(k: number): { readonly key: string; readonly count: number }[] {
    return [...this.#counts]
      .map(([key, count]) => ({ key, count }))
      .toSorted((a, b) => b.count - a.count)
      .slice(0, k)
  }

  get size(): number {
    return this.#counts.size
  }

  clear(): void {
    this.#counts.clear()
    this.error = 0
  }

  #purge(): void {
    const sorted = Float64Array.from(this.#counts.values()).toSorted()
    const median = sorted[sorted.length >> 1]!
    for (const [key, count] of this.#counts) {
      if (count <= median) this.#counts.delete(key)
      else this.#counts.set(key, count - median)
    }
    this.error += median
  }
}
