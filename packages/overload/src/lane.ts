import type { Entrant } from './entrant.ts'

/** Entrants in the order in which they came. Constant time for everything; one is in one lane only. */
export class Lane {
  oldest: Entrant | undefined
  newest: Entrant | undefined

  add(entrant: Entrant): void {
    entrant.older = this.newest
    if (this.newest === undefined) this.oldest = entrant
    else this.newest.newer = entrant
    this.newest = entrant
  }

  remove(entrant: Entrant): void {
    const { older, newer } = entrant
    if (older === undefined) this.oldest = newer
    else older.newer = newer
    if (newer === undefined) this.newest = older
    else newer.older = older
    entrant.older = undefined
    entrant.newer = undefined
  }
}
