/** Something that is in one list at most. */
export interface Linked {
  previous: Linked | undefined
  next: Linked | undefined
}

/** First in, first out; what is inside can be taken out in one step. No allocation. */
export class LinkedList<Item extends Linked> {
  #first: Item | undefined
  #last: Item | undefined

  get first(): Item | undefined {
    return this.#first
  }

  get last(): Item | undefined {
    return this.#last
  }

  push(item: Item): void {
    item.previous = this.#last
    if (this.#last === undefined) this.#first = item
    else this.#last.next = item
    this.#last = item
  }

  /** @param item one that is in this list */
  remove(item: Item): void {
    const { previous, next } = item
    if (previous === undefined) this.#first = next as Item | undefined
    else previous.next = next
    if (next === undefined) this.#last = previous as Item | undefined
    else next.previous = previous
    item.previous = item.next = undefined
  }
}
