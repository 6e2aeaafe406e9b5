interface Kept<Value> {
  readonly value: Value
  readonly atMs: number
}

/** The last good value of each key, for a while. When full, what was written longest ago goes. */
export class LastGood<Value> {
  readonly #maxAgeMs: number
  readonly #maxEntries: number
  readonly #values = new Map<string, Kept<Value>>()

  constructor(maxAgeMs: number, maxEntries: number) {
    this.#maxAgeMs = maxAgeMs
    this.#maxEntries = maxEntries
  }

  get size(): number {
    return this.#values.size
  }

  /** @param nowMs monotonic milliseconds */
  keep(key: string, value: Value, nowMs: number): void {
    // a Map keeps the order of insertion, so the first key is the oldest
    this.#values.delete(key)
    this.#values.set(key, { value, atMs: nowMs })
    if (this.#values.size > this.#maxEntries) this.#values.delete(this.#values.keys().next().value!)
  }

  /** Its value wrapped, as the value may be `undefined`; nothing when there is none that is young enough. */
  find(key: string, nowMs: number): { readonly value: Value } | undefined {
    const kept = this.#values.get(key)
    if (kept === undefined || nowMs - kept.atMs <= this.#maxAgeMs) return kept
    this.#values.delete(key)
    return undefined
  }
}
