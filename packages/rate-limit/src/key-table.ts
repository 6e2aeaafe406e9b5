import { KeySegment } from './key-segment.ts'

const SEGMENTS = 256

/**
 * Numbers by 64-bit key, each a moment in milliseconds after which the key may be forgotten. Sixteen
 * bytes a place, in 256 open-addressed segments that grow and shrink by themselves: no turn of the
 * event loop has to move more than one of them.
 *
 * A key is only lost before its moment when `maxKeys` of them are kept; then, of eight looked at,
 * the one whose moment comes first goes, and `evicted` counts it.
 */
export class KeyTable {
  /** Keys lost before their time because there were too many. */
  evicted = 0
  readonly #maxKeys: number
  readonly #segments: (KeySegment | undefined)[] = Array.from({ length: SEGMENTS })
  #current: KeySegment | undefined
  #size = 0
  #high = 0
  #low = 0
  #swept = 0

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys
  }

  /** Keys kept, with those whose moment has passed and that nobody has come across since. */
  get size(): number {
    return this.#size
  }

  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + (segment?.bytes ?? 0), 0)
  }

  /** The moment of a key; 0 when it is not kept. `put` then writes to the same key. */
  find(high: number, low: number, nowMs: number): number {
    this.#high = high
    this.#low = low
    const segment = this.#segments[high & (SEGMENTS - 1)]
    this.#current = segment
    return segment === undefined ? 0 : segment.find(high, low, nowMs)
  }

  /** Writes the moment of the key that was looked for last. */
  put(value: number, nowMs: number): void {
    const segment = this.#current ?? this.#newSegment()
    if (segment.isFound) return segment.overwrite(value)
    if (this.#size >= this.#maxKeys && segment.giveUpOne(nowMs)) this.evicted++
    segment.insert(this.#high, this.#low, value, nowMs)
    this.#size += segment.takeGrowth()
  }

  /** Forgets the key that was looked for last. */
  remove(): void {
    const segment = this.#current
    if (segment === undefined || !segment.isFound) return
    segment.remove()
    this.#size += segment.takeGrowth()
  }

  /** Gives back the memory of keys whose moment has passed, in an eighth of the table. */
  sweep(nowMs: number): void {
    for (let i = 0; i < SEGMENTS / 8; i++) {
      const segment = this.#segments[this.#swept]
      this.#swept = (this.#swept + 1) % SEGMENTS
      if (segment === undefined) continue
      segment.tidy(nowMs)
      this.#size += segment.takeGrowth()
    }
    this.#current = undefined
  }

  #newSegment(): KeySegment {
    const segment = new KeySegment()
    this.#segments[this.#high & (SEGMENTS - 1)] = segment
    this.#current = segment
    segment.find(this.#high, this.#low, 0)
    return segment
  }
}
