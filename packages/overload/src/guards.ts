import { LOWEST, PRIORITIES } from './priority.ts'
import type { Rank } from './priority.ts'

/** A figure that must stay under a limit. */
export interface Guard {
  readonly name: string
  readonly limit: number
  read(): number
}

/** What a guard saw last. */
export interface GuardState {
  readonly name: string
  readonly limit: number
  readonly value: number
  /** It is over its limit, or has not yet fallen well below it again. */
  readonly isTripped: boolean
}

/** How much more, or less, of one priority is shed after each look. */
const STEP = 0.25
/** A guard that has tripped rests when its figure falls below this share of its limit. */
const RESTS_BELOW = 0.9

/**
 * Sheds more at each look while a guard is tripped, and less at each look when none is: first of the
 * least important, when all of them are shed also of the next, never of the most important.
 */
export class Guards {
  /** 0 sheds nothing, 1 all of the least important, 2 those of the next too, and so on. */
  pressure = 0
  states: readonly GuardState[]
  readonly #guards: readonly Guard[]
  readonly #owed = PRIORITIES.map(() => 0)

  constructor(guards: readonly Guard[]) {
    this.#guards = guards
    this.states = guards.map(({ name, limit }) => ({ name, limit, value: 0, isTripped: false }))
  }

  /** Call now and then. */
  look(): void {
    this.states = this.#guards.map((guard, i) => see(guard, this.states[i]!.isTripped))
    const step = this.tripped === undefined ? -STEP : STEP
    this.pressure = Math.max(0, Math.min(LOWEST, this.pressure + step))
  }

  /** The first guard that is tripped. */
  get tripped(): GuardState | undefined {
    return this.states.find(({ isTripped }) => isTripped)
  }

  /** Whether one of this priority is to be turned away: evenly spread, not by chance. */
  sheds(rank: Rank): boolean {
    const share = Math.min(1, this.pressure - (LOWEST - rank))
    if (share <= 0) return false
    const owed = this.#owed[rank]! + share
    this.#owed[rank] = owed >= 1 ? owed - 1 : owed
    return owed >= 1
  }
}

function see(guard: Guard, wasTripped: boolean): GuardState {
  const { name, limit } = guard
  const value = guard.read()
  const isTripped = value >= (wasTripped ? limit * RESTS_BELOW : limit)
  return { name, limit, value, isTripped }
}
