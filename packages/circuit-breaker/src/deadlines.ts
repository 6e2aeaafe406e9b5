/** Something that has to end within a time: a link of a list, so that taking it out is one step. */
export interface Timed {
  /** Monotonic milliseconds. */
  readonly startMs: number
  previous: Timed | undefined
  next: Timed | undefined
}

/**
 * What is under way and must end within the same time, oldest first. One timer for all, set for the
 * oldest, and none while nothing is under way: a timer a call would cost more than all the rest.
 */
export class Deadlines<Item extends Timed> {
  size = 0
  readonly #limitMs: number
  readonly #now: () => number
  readonly #expire: (item: Item) => void
  #first: Item | undefined
  #last: Item | undefined
  #timer: NodeJS.Timeout | undefined

  /** @param expire called with what is late, after it was taken out */
  constructor(limitMs: number, now: () => number, expire: (item: Item) => void) {
    this.#limitMs = limitMs
    this.#now = now
    this.#expire = expire
  }

  /** Items must come in the order of their `startMs`. */
  add(item: Item): void {
    item.previous = this.#last
    if (this.#last === undefined) this.#first = item
    else this.#last.next = item
    this.#last = item
    this.size++
    if (this.#timer === undefined) this.#wakeIn(this.#limitMs)
  }

  /** Takes out an item that is in. */
  remove(item: Item): void {
    const { previous, next } = item
    if (previous === undefined) this.#first = next as Item | undefined
    else previous.next = next
    if (next === undefined) this.#last = previous as Item | undefined
    else next.previous = previous
    item.previous = item.next = undefined
    this.size--
  }

  /** Takes out the oldest. */
  shift(): Item | undefined {
    const first = this.#first
    if (first !== undefined) this.remove(first)
    return first
  }

  /** Stops the timer and takes everything out. @returns what was in */
  close(): Item[] {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const items: Item[] = []
    for (let item = this.shift(); item !== undefined; item = this.shift()) items.push(item)
    return items
  }

  #wakeIn(ms: number): void {
    this.#timer = setTimeout(() => this.#wake(), Math.max(1, Math.ceil(ms)))
    this.#timer.unref()
  }

  #wake(): void {
    this.#timer = undefined
    const lateMs = this.#now() - this.#limitMs
    while (this.#first !== undefined && this.#first.startMs <= lateMs) this.#expire(this.shift()!)
    // what expires may have begun something new, and set the timer
    if (this.#first !== undefined && this.#timer === undefined) {
      this.#wakeIn(this.#first.startMs - lateMs)
    }
  }
}
