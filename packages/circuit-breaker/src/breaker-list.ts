import { VitalsError } from '@fastify-vitals/metrics'
import type { BreakerControl, Breakers, Transition, TransitionListener } from './breaker-types.ts'
import type { BreakerMetrics, VitalsMeter } from './breaker-metrics.ts'
import type { GuardedBreaker } from './guarded-breaker.ts'
import type { BreakerParts } from './standing.ts'
import { TransitionLog } from './transition-log.ts'

/** What makes a breaker of either kind, of the parts that all share. */
export type BreakerMaker<Made extends GuardedBreaker> = (
  meter: VitalsMeter,
  parts: BreakerParts
) => Made

/** All breakers of an app: by name, so many at most. */
export class BreakerList implements Breakers {
  readonly transitions: TransitionLog = new TransitionLog()
  readonly #maxBreakers: number
  readonly #metrics: BreakerMetrics
  readonly #parts: BreakerParts
  readonly #breakers = new Map<string, { breaker: GuardedBreaker; meter: VitalsMeter }>()
  readonly #listeners = new Set<TransitionListener>()

  constructor(maxBreakers: number, metrics: BreakerMetrics, parts: BreakerParts) {
    this.#maxBreakers = maxBreakers
    this.#metrics = metrics
    this.#parts = parts
  }

  /**
   * @throws VitalsError `VITALS_BREAKER_EXISTS` for a name given twice, `VITALS_BREAKERS_FULL` when
   *   there are as many as allowed
   */
  add<Made extends GuardedBreaker>(name: string, make: BreakerMaker<Made>): Made {
    if (this.#breakers.has(name)) {
      throw new VitalsError(
        'VITALS_BREAKER_EXISTS',
        `there is already a circuit breaker "${name}"; make each once, not at each request`
      )
    }
    if (this.#breakers.size >= this.#maxBreakers) {
      throw new VitalsError(
        'VITALS_BREAKERS_FULL',
        `there are already ${this.#maxBreakers} circuit breakers, so none can be made for "${name}"; raise maxBreakers, or make them once and not at each request`
      )
    }
    const meter = this.#metrics.meter(name)
    const breaker = make(meter, this.#parts)
    this.#breakers.set(name, { breaker, meter })
    this.#metrics.show(name, breaker.state)
    breaker.on((transition) => this.#moved(transition))
    return breaker
  }

  get(name: string): BreakerControl | undefined {
    return this.#breakers.get(name)?.breaker
  }

  list(): BreakerControl[] {
    return [...this.#breakers.values()].map(({ breaker }) => breaker)
  }

  /** Each with the figures of its calls. */
  get entries(): Iterable<{ readonly breaker: BreakerControl; readonly meter: VitalsMeter }> {
    return this.#breakers.values()
  }

  delete(name: string): boolean {
    const entry = this.#breakers.get(name)
    if (entry === undefined) return false
    this.#breakers.delete(name)
    entry.breaker.shutDown()
    this.#metrics.drop(name)
    this.transitions.forget(name)
    return true
  }

  on(listener: TransitionListener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Shuts all of them down. */
  close(): void {
    for (const { breaker } of this.#breakers.values()) breaker.shutDown()
  }

  #moved(transition: Transition): void {
    this.#metrics.moved(transition)
    this.transitions.add(transition)
    for (const listener of this.#listeners) {
      try {
        listener(transition)
      } catch (error) {
        this.#parts.onError('listener', error)
      }
    }
  }
}
