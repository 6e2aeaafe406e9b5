import type { RecordSink } from '../histogram.ts'
import { keyOf } from './run.ts'
import type { Run } from './run.ts'

const SLOTS = 8192
const FULL = SLOTS * 0.75
const HASH_SHIFT = 32 - Math.log2(SLOTS)

/**
 * Counts what was recorded since the slot began, by series and bucket: an open-addressed table of
 * two typed arrays (64 KB), a few nanoseconds a record, no allocation. Whenever it is three
 * quarters full it is emptied into a sorted run, and goes on.
 */
export class DeltaTable implements RecordSink {
  readonly #keys = new Uint32Array(SLOTS)
  readonly #counts = new Uint32Array(SLOTS)
  #size = 0
  readonly #onFull: (run: Run) => void

  constructor(onFull: (run: Run) => void) {
    this.#onFull = onFull
  }

  /** @param seriesId at least 1: key 0 marks an empty place */
  push(seriesId: number, bucket: number): void {
    const key = keyOf(seriesId, bucket)
    let at = Math.imul(key, 0x9e3779b1) >>> HASH_SHIFT
    while (this.#keys[at] !== key) {
      if (this.#keys[at] === 0) return this.#insert(at, key)
      at = (at + 1) & (SLOTS - 1)
    }
    this.#counts[at]!++
  }

  /** What it holds now, sorted; the table stays as it is. */
  peek(): Run {
    const keys = this.#keys.filter((key) => key !== 0).toSorted()
    const counts = Uint32Array.from(keys, (key) => this.#counts[this.#find(key)]!)
    return { keys, counts }
  }

  /** What it holds now, sorted; the table is empty afterwards. */
  take(): Run {
    const run = this.peek()
    if (this.#size > 0) {
      this.#keys.fill(0)
      this.#counts.fill(0)
      this.#size = 0
    }
    return run
  }

  #insert(at: number, key: number): void {
    this.#keys[at] = key
    this.#counts[at] = 1
    if (++this.#size >= FULL) this.#onFull(this.take())
  }

  #find(key: number): number {
    let at = Math.imul(key, 0x9e3779b1) >>> HASH_SHIFT
    while (this.#keys[at] !== key) at = (at + 1) & (SLOTS - 1)
    return at
  }
}
