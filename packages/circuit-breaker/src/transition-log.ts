import type { Transition } from './breaker-types.ts'

const MOST_PER_BREAKER = 20

/** The last changes of state of each breaker, oldest first. Bounded by the number of breakers. */
export class TransitionLog {
  readonly #byBreaker = new Map<string, Transition[]>()

  add(transition: Transition): void {
    const { breaker } = transition
    const transitions = this.#byBreaker.get(breaker) ?? []
    this.#byBreaker.set(breaker, transitions)
    transitions.push(transition)
    if (transitions.length > MOST_PER_BREAKER) transitions.shift()
  }

  of(breaker: string): readonly Transition[] {
    return this.#byBreaker.get(breaker) ?? []
  }

  forget(breaker: string): void {
    this.#byBreaker.delete(breaker)
  }
}
