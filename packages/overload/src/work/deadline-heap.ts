/** Something that has to be done by a time. */
export interface Due {
  /** Monotonic milliseconds. */
  readonly dueMs: number
  /** Where it is in the heap; -1: it is not. */
  heapIndex: number
}

/** What is due, the next first. A step costs the logarithm of how many there are. */
export class DeadlineHeap<Item extends Due> {
  readonly #items: Item[] = []

  get next(): Item | undefined {
    return this.#items[0]
  }

  add(item: Item): void {
    item.heapIndex = this.#items.push(item) - 1
    this.#rise(item)
  }

  /** Takes it out if it is in. */
  remove(item: Item): void {
    const at = item.heapIndex
    if (at === -1) return
    item.heapIndex = -1
    const filler = this.#items.pop()!
    if (filler === item) return
    this.#put(filler, at)
    this.#rise(filler)
    this.#sink(filler)
  }

  #rise(item: Item): void {
    while (item.heapIndex > 0) {
      const at = item.heapIndex
      const parent = this.#items[(at - 1) >> 1]!
      if (parent.dueMs <= item.dueMs) return
      this.#put(item, parent.heapIndex)
      this.#put(parent, at)
    }
  }

  #sink(item: Item): void {
    for (;;) {
      const at = item.heapIndex
      const child = this.#earlier(this.#items[2 * at + 1], this.#items[2 * at + 2])
      if (child === undefined || child.dueMs >= item.dueMs) return
      this.#put(item, child.heapIndex)
      this.#put(child, at)
    }
  }

  #earlier(left: Item | undefined, right: Item | undefined): Item | undefined {
    if (left === undefined || right === undefined) return left
    return right.dueMs < left.dueMs ? right : left
  }

  #put(item: Item, at: number): void {
    this.#items[at] = item
    item.heapIndex = at
  }
}
