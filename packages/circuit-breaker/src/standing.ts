import { VitalsError } from '@fastify-vitals/metrics'
import { FORCED_MODES } from './breaker-types.ts'
import type { BreakerState, ForcedMode, Transition, TransitionListener } from './breaker-types.ts'
import { CallWindow } from './call-window.ts'
import { Circuit, FOREVER_MS } from './circuit.ts'
import { OpenTimes } from './open-times.ts'
import type { OpenTimesOptions } from './open-times.ts'
import { whyOpen } from './thresholds.ts'
import type { Thresholds } from './thresholds.ts'
import { Trial } from './trial.ts'

export interface StandingOptions extends Thresholds, OpenTimesOptions {
  readonly windowMs: number
  readonly windowBuckets: number
  readonly halfOpenProbes: number
  readonly halfOpenSuccessRatio: number
  readonly forced: ForcedMode
}

/** What a breaker stands on; tests bring a clock and chance of their own. */
export interface BreakerParts {
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Numbers in [0, 1). */
  readonly random: () => number
  /** Told of what threw in a callback that somebody gave us. */
  readonly onError: (callback: string, error: unknown) => void
}

const FORCED_STATES = {
  open: 'forced_open',
  closed: 'forced_closed',
  metrics_only: 'metrics_only'
} as const

/** How long to wait while all probes are under way: nobody knows when they end. */
const PROBING_RETRY_MS = 1000

/**
 * Where a breaker stands, and why: judges how calls went, and opens and closes the circuit.
 *
 * Each change begins a new period. What was begun in an earlier one is not judged any more: a slow
 * failure of before must not open what has just recovered.
 */
export class Standing {
  state: BreakerState = 'closed'
  /** Milliseconds since the epoch. */
  since: number = Date.now()
  period = 0
  consecutiveFailures = 0
  readonly window: CallWindow
  readonly circuit: Circuit
  readonly #name: string
  readonly #options: StandingOptions
  readonly #parts: BreakerParts
  readonly #openTimes: OpenTimes
  readonly #listeners = new Set<TransitionListener>()
  #mode: ForcedMode = 'none'
  #trial: Trial | undefined
  #reason = ''
  #halfOpenAtMs = 0

  constructor(name: string, options: StandingOptions, parts: BreakerParts) {
    this.#name = name
    this.#options = options
    this.#parts = parts
    this.#openTimes = new OpenTimes(options, parts.random)
    this.window = new CallWindow(options.windowMs, options.windowBuckets, parts.now())
    this.circuit = new Circuit(name, {
      onMove: () => this.#follow(),
      onListenerError: (error) => parts.onError('listener', error)
    })
    if (options.forced !== 'none') this.force(options.forced)
  }

  /** Whether time-out and bulkhead hold too; not when it only measures. */
  get isProtecting(): boolean {
    return this.#mode !== 'metrics_only'
  }

  /** Whether a call that comes now must be refused. */
  get isRefusing(): boolean {
    if (this.#trial !== undefined) return !this.#trial.hasRoom
    return this.state === 'open' || this.state === 'forced_open'
  }

  /** A call begins: a probe, when half-open. Ask `isRefusing` first. */
  enter(): void {
    this.#trial?.begin()
  }

  /** A call that was let in showed nothing. */
  forget(period: number): void {
    if (period === this.period) this.#trial?.giveBack()
  }

  /** How a call of a period went. */
  judge(period: number, isFailure: boolean, isSlow: boolean, nowMs: number): void {
    if (period !== this.period) return
    if (this.#trial !== undefined) return this.#judgeProbe(this.#trial, !isFailure && !isSlow)
    this.window.record(nowMs, isFailure, isSlow)
    this.consecutiveFailures = isFailure ? this.consecutiveFailures + 1 : 0
    if (this.state !== 'closed') return
    const reason = whyOpen(this.#options, this.window, this.consecutiveFailures)
    if (reason !== undefined) this.#open(reason)
  }

  /** Milliseconds until a call is let through; 0 when it is now. */
  retryAfterMs(): number {
    if (this.state === 'open') return Math.max(0, this.#halfOpenAtMs - this.#parts.now())
    if (this.state === 'forced_open') return this.#options.openMs
    return this.#trial?.hasRoom === false ? PROBING_RETRY_MS : 0
  }

  /** @throws VitalsError `VITALS_BREAKER_MODE_UNKNOWN` for a mode that there is not */
  force(mode: ForcedMode): void {
    if (!FORCED_MODES.includes(mode)) throw unknownMode(mode)
    this.#mode = mode
    this.#reason = mode === 'none' ? 'set back to judging' : `forced: ${mode}`
    this.#openTimes.reset()
    if (mode === 'open') this.circuit.open(FOREVER_MS)
    else this.circuit.close(mode === 'none')
    this.#follow()
    // it was closed already, and still forgets
    if (mode === 'none') this.#startAfresh()
  }

  on(listener: TransitionListener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Stops its timer and tells nobody any more. */
  shutDown(): void {
    this.#listeners.clear()
    this.circuit.shutDown()
  }

  #judgeProbe(trial: Trial, isGood: boolean): void {
    const verdict = trial.judge(isGood)
    if (verdict === 'failed') this.#open('its probes failed')
    if (verdict !== 'passed') return
    this.#reason = 'its probes succeeded'
    this.#openTimes.reset()
    this.circuit.close(true)
  }

  #open(reason: string): void {
    this.#reason = reason
    const openMs = this.#openTimes.next()
    this.#halfOpenAtMs = this.#parts.now() + openMs
    this.circuit.open(openMs)
  }

  /** Takes over where opossum's circuit is now. */
  #follow(): void {
    const { circuit } = this
    const to = this.#mode === 'none' ? circuit.state : FORCED_STATES[this.#mode]
    // a circuit that is kept open by force may still come to the end of its open time
    if (to === 'forced_open' && circuit.state === 'half_open') return circuit.open(FOREVER_MS)
    if (to !== this.state) this.#become(to)
  }

  #become(to: BreakerState): void {
    const { halfOpenProbes, halfOpenSuccessRatio } = this.#options
    const reason = to === 'half_open' ? 'its open time is over' : this.#reason
    const change = { breaker: this.#name, from: this.state, to, reason, at: Date.now() }
    this.state = to
    this.since = change.at
    this.#trial = to === 'half_open' ? new Trial(halfOpenProbes, halfOpenSuccessRatio) : undefined
    this.#startAfresh()
    for (const listener of this.#listeners) this.#tell(listener, change)
  }

  /** A new period: nothing of before counts any more. */
  #startAfresh(): void {
    this.period++
    this.window.reset()
    this.consecutiveFailures = 0
  }

  #tell(listener: TransitionListener, transition: Transition): void {
    try {
      listener(transition)
    } catch (error) {
      this.#parts.onError('listener', error)
    }
  }
}

function unknownMode(mode: unknown): VitalsError {
  return new VitalsError(
    'VITALS_BREAKER_MODE_UNKNOWN',
    `a breaker can be forced to ${FORCED_MODES.join(', ')}, not to ${JSON.stringify(mode)}`
  )
}
