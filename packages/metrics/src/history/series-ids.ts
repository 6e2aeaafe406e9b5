import { MAX_SERIES_ID } from './run.ts'

/**
 * Hands out the small numbers by which the history knows its series. A number comes back into use
 * only when nothing in the history can still mean its former owner: after twice the retention, as a
 * block that was merged reaches further back than its end.
 */
export class SeriesIds {
  readonly #retentionMs: number
  readonly #now: () => number
  readonly #limit: number
  #next = 1
  readonly #released: { readonly id: number; readonly atMs: number }[] = []

  constructor(retentionMs: number, now: () => number, limit: number = MAX_SERIES_ID) {
    this.#retentionMs = retentionMs
    this.#now = now
    this.#limit = limit
  }

  /** @returns an id, or 0 when none is free: such a series works but has no history */
  allocate(): number {
    const oldest = this.#released[0]
    if (oldest !== undefined && this.#now() - oldest.atMs > 2 * this.#retentionMs) {
      this.#released.shift()
      return oldest.id
    }
    return this.#next <= this.#limit ? this.#next++ : 0
  }

  release(id: number): void {
    if (id !== 0) this.#released.push({ id, atMs: this.#now() })
  }
}
