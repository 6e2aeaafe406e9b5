import type { EventEmitter } from 'node:events'

/** Where a breaker stands. The forced ones stay until somebody changes them. */
export type BreakerState =
  | 'closed'
  | 'open'
  | 'half_open'
  | 'forced_open'
  | 'forced_closed'
  | 'metrics_only'

export const BREAKER_STATES: readonly BreakerState[] = Object.freeze([
  'closed',
  'open',
  'half_open',
  'forced_open',
  'forced_closed',
  'metrics_only'
])

/**
 * What a breaker can be told to do, whatever its calls do: `open` refuses all, `closed` never opens
 * (time-out and bulkhead still hold), `metrics_only` only measures, `none` goes back to judging, from
 * a closed circuit and an empty window.
 */
export type ForcedMode = 'open' | 'closed' | 'metrics_only' | 'none'

export const FORCED_MODES: readonly ForcedMode[] = Object.freeze([
  'none',
  'open',
  'closed',
  'metrics_only'
])

/**
 * What a call came to. The first six are how it went, one for each call. `fallback` and `stale` count
 * on top of that the failures, time-outs and refusals that were answered nonetheless.
 */
export type CallResult =
  | 'success'
  | 'failure'
  | 'timeout'
  | 'rejected'
  | 'bulkhead_full'
  | 'ignored'
  | 'fallback'
  | 'stale'

export const CALL_RESULTS: readonly CallResult[] = Object.freeze([
  'success',
  'failure',
  'timeout',
  'rejected',
  'bulkhead_full',
  'ignored',
  'fallback',
  'stale'
])

/** What an action is told of the call it works for: its last argument. */
export interface BreakerCall {
  /** Aborted at the time-out. Made when it is first read: an action that ignores it costs nothing. */
  readonly signal: AbortSignal
}

/**
 * Whether an error is a failure of what is called. `false`: it is an answer, which speaks for it.
 * `'neither'`: it tells nothing, as when the caller itself gave up. Both count as `ignored`.
 */
export type IsFailure = (error: unknown) => boolean | 'neither'

/** When a breaker opens, how long, and how it comes back. */
export interface BreakerPolicyOptions {
  timeoutMs?: number | false
  failureThresholdPercentage?: number
  consecutiveFailures?: number
  minimumCalls?: number
  windowMs?: number
  windowBuckets?: number
  slowCallMs?: number
  slowCallThresholdPercentage?: number
  openMs?: number
  openMsMultiplier?: number
  maxOpenMs?: number
  jitterRatio?: number
  halfOpenProbes?: number
  halfOpenSuccessRatio?: number
  maxConcurrent?: number
  maxQueue?: number
  queueTimeoutMs?: number
  forced?: ForcedMode
  isFailure?: IsFailure
}

export interface BreakerOptions<
  Args extends unknown[] = unknown[],
  Result = unknown
> extends BreakerPolicyOptions {
  /** Answers instead, when a call failed, timed out or was refused. What it throws is thrown on. */
  fallback?: (error: unknown, ...args: Args) => Promise<Result> | Result
  staleMs?: number
  staleKey?: (...args: Args) => string
  staleMaxEntries?: number
}

/** A change of state. */
export interface Transition {
  readonly breaker: string
  readonly from: BreakerState
  readonly to: BreakerState
  /** Why, in a few words for people. */
  readonly reason: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

export type TransitionListener = (transition: Transition) => void

/** What a breaker knows of its calls. Rates are null where there is nothing to judge by. */
export interface BreakerFigures {
  /** Calls in the window that were answered or failed. */
  readonly windowCalls: number
  readonly windowFailures: number
  readonly windowSlowCalls: number
  /** 0 to 1, in the window. */
  readonly failureRatio: number | null
  /** 0 to 1, in the window. */
  readonly slowRatio: number | null
  readonly consecutiveFailures: number
  /** Calls whose work has not ended yet, those that timed out included. */
  readonly running: number
  readonly queued: number
  /** Since the start, or the last reset. */
  readonly totals: Readonly<Record<CallResult, number>>
}

/** What can be asked of every breaker, and ordered. */
export interface BreakerControl {
  readonly name: string
  readonly state: BreakerState
  /** When the state began, milliseconds since the epoch. */
  readonly since: number
  readonly figures: BreakerFigures
  /** Milliseconds until it lets a call through; 0 when it does now. */
  retryAfterMs(): number
  /** @throws VitalsError `VITALS_BREAKER_MODE_UNKNOWN` for a mode that there is not */
  force(mode: ForcedMode): void
  /** Tells each change of state. @returns stops telling */
  on(listener: TransitionListener): () => void
  /** The circuit of opossum that keeps the state, for what listens to opossum's events. */
  readonly opossum: EventEmitter
}

/** An action behind a circuit breaker. */
export interface Breaker<
  Args extends unknown[] = unknown[],
  Result = unknown
> extends BreakerControl {
  /**
   * Calls the action.
   * @throws BreakerOpenError, BulkheadFullError, BreakerTimeoutError, or what the action throws, as
   *   rejections, unless there is a fallback or a stale value
   */
  fire(...args: Args): Promise<Result>
}

/** All breakers of an app, by name. */
export interface Breakers {
  get(name: string): BreakerControl | undefined
  list(): BreakerControl[]
  /** Shuts a breaker down: calls that have a time-out are aborted. @returns whether there was one */
  delete(name: string): boolean
  /** Tells each change of state of each breaker. @returns stops telling */
  on(listener: TransitionListener): () => void
}

/** Makes a breaker. */
export interface MakeBreaker {
  /**
   * @param action called with the arguments of `fire` and, last, its `BreakerCall`
   * @throws VitalsOptionError for options it can't work with
   * @throws VitalsError `VITALS_BREAKER_EXISTS` for a name given twice, `VITALS_BREAKERS_FULL` when
   *   there are `maxBreakers`
   */
  <Args extends unknown[], Result>(
    name: string,
    action: (...args: [...Args, BreakerCall]) => Promise<Result> | Result,
    options?: BreakerOptions<Args, Result>
  ): Breaker<Args, Result>
  /** @param action one that doesn't look at its `BreakerCall` */
  <Args extends unknown[], Result>(
    name: string,
    action: (...args: Args) => Promise<Result> | Result,
    options?: BreakerOptions<Args, Result>
  ): Breaker<Args, Result>
}
