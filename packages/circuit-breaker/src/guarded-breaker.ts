import type { EventEmitter } from 'node:events'
import type {
  BreakerControl,
  BreakerFigures,
  BreakerState,
  ForcedMode,
  TransitionListener
} from './breaker-types.ts'
import { Guard } from './guard.ts'
import type { GuardOptions } from './guard.ts'
import type { Meter } from './meter.ts'
import type { BreakerParts } from './standing.ts'

/** A breaker as those see it who watch or order it. What it protects comes with its subclasses. */
export class GuardedBreaker implements BreakerControl {
  readonly name: string
  readonly meter: Meter
  protected readonly guard: Guard
  readonly #now: () => number

  constructor(name: string, options: GuardOptions, meter: Meter, parts: BreakerParts) {
    this.name = name
    this.meter = meter
    this.guard = new Guard(name, options, meter, parts)
    this.#now = parts.now
  }

  get state(): BreakerState {
    return this.guard.standing.state
  }

  get since(): number {
    return this.guard.standing.since
  }

  get figures(): BreakerFigures {
    const { window, consecutiveFailures } = this.guard.standing
    window.advance(this.#now())
    const { calls, failures, slowCalls } = window
    return {
      windowCalls: calls,
      windowFailures: failures,
      windowSlowCalls: slowCalls,
      failureRatio: calls === 0 ? null : failures / calls,
      slowRatio: calls === 0 ? null : slowCalls / calls,
      consecutiveFailures,
      running: this.guard.running,
      queued: this.queued,
      totals: this.meter.totals()
    }
  }

  get opossum(): EventEmitter {
    return this.guard.standing.circuit.opossum
  }

  /** Calls that wait for the bulkhead. */
  protected get queued(): number {
    return 0
  }

  retryAfterMs(): number {
    return this.guard.standing.retryAfterMs()
  }

  force(mode: ForcedMode): void {
    this.guard.standing.force(mode)
  }

  on(listener: TransitionListener): () => void {
    return this.guard.standing.on(listener)
  }

  /** Stops all timers; calls that have a time-out are aborted, further calls refused. */
  shutDown(): void {
    this.guard.shutDown()
  }
}
