import type { Entrant } from './entrant.ts'
import { Lane } from './lane.ts'
import { LOWEST, PRIORITIES } from './priority.ts'
import type { Rank } from './priority.ts'

/** Those who wait, by priority. */
export class WaitQueue {
  length = 0
  readonly #lanes = PRIORITIES.map(() => new Lane())

  add(entrant: Entrant): void {
    this.#lanes[entrant.rank]!.add(entrant)
    entrant.isWaiting = true
    this.length++
  }

  remove(entrant: Entrant): void {
    this.#lanes[entrant.rank]!.remove(entrant)
    entrant.isWaiting = false
    this.length--
  }

  /** Priority of the most important one; beyond the lowest when nobody waits. */
  get bestRank(): Rank {
    const rank = this.#lanes.findIndex((lane) => lane.newest !== undefined)
    return rank === -1 ? LOWEST + 1 : rank
  }

  /**
   * Takes out the most important one.
   * @param isNewestFirst of those of one priority, the one who came last
   */
  take(isNewestFirst: boolean): Entrant | undefined {
    for (const lane of this.#lanes) {
      const entrant = isNewestFirst ? lane.newest : lane.oldest
      if (entrant === undefined) continue
      this.remove(entrant)
      return entrant
    }
    return undefined
  }

  /** Takes out the one that can be spared first: the oldest of the least important. */
  takeLeast(): Entrant | undefined {
    for (let rank = LOWEST; rank >= 0; rank--) {
      const { oldest } = this.#lanes[rank]!
      if (oldest === undefined) continue
      this.remove(oldest)
      return oldest
    }
    return undefined
  }

  /** Takes out one that came before `beforeMs`, if there is any. */
  takeLate(beforeMs: number): Entrant | undefined {
    for (const { oldest } of this.#lanes) {
      if (oldest === undefined || oldest.arrivedMs >= beforeMs) continue
      this.remove(oldest)
      return oldest
    }
    return undefined
  }

  /** Priority of the least important one that waits; -1 when nobody does. */
  get worstRank(): Rank {
    return this.#lanes.findLastIndex((lane) => lane.newest !== undefined)
  }
}
