import type { Partition } from './partition.ts'
import type { Rank } from './priority.ts'

/** Why something was turned away. */
export type Refusal = 'full' | 'late' | 'guard'

/** Something that asks to be let in: a request, or a stand-in of a test. */
export abstract class Entrant {
  readonly rank: Rank
  readonly partition: Partition
  /** When it came, monotonic milliseconds. */
  readonly arrivedMs: number
  /** When it was let in; 0 until then. */
  admittedMs: number
  isWaiting: boolean
  /** It holds a place. */
  isInside: boolean
  /** Neighbours in the queue, then among those inside. */
  older: Entrant | undefined
  newer: Entrant | undefined

  constructor(rank: Rank, partition: Partition, arrivedMs: number) {
    // assigned here and not where they are declared: initialisers of fields cost a call a request
    this.rank = rank
    this.partition = partition
    this.arrivedMs = arrivedMs
    this.admittedMs = 0
    this.isWaiting = false
    this.isInside = false
    this.older = undefined
    this.newer = undefined
  }

  /** It waited and is let in now. Must not throw. */
  abstract proceed(): void

  /** It waited, and is turned away now. Must not throw. */
  abstract refuse(reason: Refusal): void

  /** Its answer has begun: if it goes on for long, that is a stream. */
  abstract get isAnswering(): boolean
}
