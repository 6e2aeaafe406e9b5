import { LinkedList } from './linked-list.ts'
import type { Linked } from './linked-list.ts'

/** Something that waits. */
export interface Queued extends Linked {
  /** 0 is the most urgent. */
  readonly rank: number
  /** When it came; monotonic milliseconds. */
  readonly queuedMs: number
}

/**
 * The most urgent first, and of the same rank the oldest first. For each `agingMs` that one has
 * waited longer it counts as one rank more urgent, so nothing starves: whatever comes later by
 * `agingMs` times the ranks between them comes after it. As all age alike, the order of two never
 * changes, and each operation looks at one end of each rank only.
 */
export class PriorityQueue<Item extends Queued> {
  size = 0
  readonly #agingMs: number
  readonly #ranks: readonly LinkedList<Item>[]

  /** @param ranks how many ranks there are */
  constructor(ranks: number, agingMs: number) {
    this.#agingMs = agingMs
    this.#ranks = Array.from({ length: ranks }, () => new LinkedList<Item>())
  }

  /** Items must come in the order of their `queuedMs`. */
  add(item: Item): void {
    this.#ranks[item.rank]!.push(item)
    this.size++
  }

  /** @param item one that is in */
  remove(item: Item): void {
    this.#ranks[item.rank]!.remove(item)
    this.size--
  }

  /** Takes out whose turn it is. */
  take(): Item | undefined {
    let best: Item | undefined
    for (const { first } of this.#ranks) {
      if (first !== undefined && (best === undefined || this.isBefore(first, best))) best = first
    }
    if (best !== undefined) this.remove(best)
    return best
  }

  /** The one whose turn comes last. */
  get last(): Item | undefined {
    let worst: Item | undefined
    for (const { last } of this.#ranks) {
      if (last !== undefined && (worst === undefined || this.isBefore(worst, last))) worst = last
    }
    return worst
  }

  /** Whether `one` has its turn before `other`; of equals, neither has. */
  isBefore(one: Queued, other: Queued): boolean {
    const ahead = this.#turn(one) - this.#turn(other)
    return ahead < 0 || (ahead === 0 && one.rank < other.rank)
  }

  #turn({ queuedMs, rank }: Queued): number {
    return queuedMs + rank * this.#agingMs
  }
}
