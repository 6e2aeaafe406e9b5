const SMALLEST = 16
const FULLEST = 0.75
/** A place that was used: searches go on behind it, and the next new key may have it. */
const GIVEN_UP = Number.MIN_VALUE
const LOOKED_AT = 8

/** A part of a key table: open addressing, linear probing. A value of 0 marks a free place. */
export class KeySegment {
  isFound = false
  #keys = new Uint32Array(2 * SMALLEST)
  #values = new Float64Array(SMALLEST)
  #mask = SMALLEST - 1
  /** Places that are not free, those given up included. */
  #occupied = 0
  #growth = 0
  /** Where the key is that was looked for, or where it would go. */
  #at = 0
  #sampleAt = 0

  get bytes(): number {
    return this.#keys.byteLength + this.#values.byteLength
  }

  find(high: number, low: number, nowMs: number): number {
    const keys = this.#keys
    const values = this.#values
    const mask = this.#mask
    let passed = -1
    for (let i = low & mask; ; i = (i + 1) & mask) {
      const value = values[i]!
      if (value === 0) {
        this.isFound = false
        this.#at = passed === -1 ? i : passed
        return 0
      }
      if (keys[2 * i] === low && keys[2 * i + 1] === high && value !== GIVEN_UP) {
        this.isFound = true
        this.#at = i
        return value
      }
      if (passed === -1 && value <= nowMs) passed = i
    }
  }

  overwrite(value: number): void {
    this.#values[this.#at] = value
  }

  remove(): void {
    this.#values[this.#at] = GIVEN_UP
    this.#growth--
  }

  /** Writes a key that was not found. */
  insert(high: number, low: number, value: number, nowMs: number): void {
    const before = this.#values[this.#at]
    if (before === 0) {
      if (this.#occupied + 1 > FULLEST * this.#values.length) {
        this.#rebuild(nowMs)
        this.find(high, low, nowMs)
      }
      this.#occupied++
    }
    // a place whose moment has passed changes hands: one key more, one less
    if (before === 0 || before === GIVEN_UP) this.#growth++
    this.#keys[2 * this.#at] = low
    this.#keys[2 * this.#at + 1] = high
    this.#values[this.#at] = value
  }

  /** How many keys more or fewer there are since the last call. */
  takeGrowth(): number {
    const growth = this.#growth
    this.#growth = 0
    return growth
  }

  /**
   * Makes room by giving up one key: one whose moment has passed, else the one of a few whose
   * moment comes first.
   * @returns whether a key was lost before its time
   */
  giveUpOne(nowMs: number): boolean {
    const values = this.#values
    let victim = -1
    let looked = 0
    for (let i = 0; i <= this.#mask && looked < LOOKED_AT; i++) {
      const at = this.#sampleAt
      this.#sampleAt = (at + 1) & this.#mask
      const value = values[at]!
      if (value === 0 || value === GIVEN_UP) continue
      looked++
      if (victim === -1 || value < values[victim]!) victim = at
    }
    if (victim === -1) return false
    const isEarly = values[victim]! > nowMs
    values[victim] = GIVEN_UP
    this.#growth--
    return isEarly
  }

  /** Gives memory back when most of what it is for has passed. */
  tidy(nowMs: number): void {
    if (this.#kept(nowMs) * 2 <= this.#occupied) this.#rebuild(nowMs)
  }

  /** Drops what has passed and takes the size that fits the rest. */
  #rebuild(nowMs: number): void {
    const keys = this.#keys
    const values = this.#values
    const kept = this.#kept(nowMs)
    const capacity = capacityFor(kept)
    this.#keys = new Uint32Array(2 * capacity)
    this.#values = new Float64Array(capacity)
    this.#mask = capacity - 1
    this.#occupied = kept
    this.#sampleAt = 0
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!
      if (value > nowMs) this.#move(keys[2 * i]!, keys[2 * i + 1]!, value)
      else if (value !== 0 && value !== GIVEN_UP) this.#growth--
    }
  }

  #kept(nowMs: number): number {
    let kept = 0
    for (const value of this.#values) if (value > nowMs) kept++
    return kept
  }

  #move(low: number, high: number, value: number): void {
    let i = low & this.#mask
    while (this.#values[i] !== 0) i = (i + 1) & this.#mask
    this.#keys[2 * i] = low
    this.#keys[2 * i + 1] = high
    this.#values[i] = value
  }
}

/** Half full at most after a rebuild, so that the next one is far. */
function capacityFor(keys: number): number {
  let capacity = SMALLEST
  while (capacity * 0.5 < keys + 1) capacity *= 2
  return capacity
}
