export interface GradientOptions {
  readonly minLimit: number
  readonly maxLimit: number
  readonly initialLimit: number
  /** Latency may be so many times the baseline before the limit shrinks. */
  readonly tolerance: number
  /** Shortest window that is judged. */
  readonly windowMs: number
  /** Fewest samples that are judged. */
  readonly minSamples: number
  /** While the limit holds requests back, the baseline is measured anew so often. */
  readonly probeIntervalMs: number
}

/** A window must be this many latencies long, or it would only see the quick ones. */
const LATENCIES_A_WINDOW = 2
/** How much of the way to a new limit is gone at once. */
const SMOOTHING = 0.5
/** The most that one window can shrink the limit by. */
const LEAST_GRADIENT = 0.5
/** A probe goes on halving the limit as long as that takes so much off the latency. */
const WORTH_HALVING = 0.85
/** The second probe comes after so long, each later one after twice the time. */
const FIRST_PROBE_GAP_MS = 1000

/** No clock is finer, and 0 stands for unknown. */
const LEAST_LATENCY_MS = 0.001

/** Halving the limit step by step until that makes nothing quicker. */
interface Probe {
  readonly limitBefore: number
  /** Mean latency at the step before, and the limit it was measured at. */
  latencyMs: number
  limit: number
}

/**
 * How many may be let in at once, learned from how long they take: as many as go without making
 * each other wait. Each window of samples moves it by the gradient, the latency without queueing
 * (baseline) over the latency now, plus the square root of it as room to grow.
 *
 * The baseline is the lowest mean of a window. It can become wrong in both directions: learned
 * while a queue stood behind us already, or while requests were cheaper than they are now. So while
 * the limit holds requests back, it is measured again now and then: the limit is halved until that
 * makes nothing quicker. What is measured there is free of queueing.
 *
 * State and time per sample are constant.
 * @see https://github.com/Netflix/concurrency-limits, which moves alike, without such a baseline
 */
export class GradientLimit {
  /** Mean latency without queueing; 0 while unknown. */
  baselineMs = 0
  /** Mean latency of the last window; 0 while there was none. */
  latencyMs = 0
  readonly #options: GradientOptions
  #limit: number
  #whole: number
  #probe: Probe | undefined
  #probedMs = -Infinity
  #probeGapMs = 0
  #limitAtProbe = 0
  #startedMs: number
  #sumMs = 0
  #count = 0
  #mostInFlight = 0
  #isHeldBack = false
  #wasHeldBack = false

  constructor(options: GradientOptions, nowMs: number) {
    this.#options = options
    this.#limit = options.initialLimit
    this.#whole = Math.floor(options.initialLimit)
    this.#startedMs = nowMs
  }

  /** Whole number. */
  get limit(): number {
    return this.#whole
  }

  get isProbing(): boolean {
    return this.#probe !== undefined
  }

  /** Somebody had to wait, or was refused, because the limit was reached. */
  holdBack(): void {
    this.#isHeldBack = true
  }

  /**
   * Takes one sample.
   * @param startedMs when it was let in; what began before this window tells of an earlier limit
   * @param inFlight how many were in, with this one
   */
  record(startedMs: number, inFlight: number, nowMs: number): void {
    if (startedMs < this.#startedMs) return
    this.#count++
    this.#sumMs += nowMs - startedMs
    if (inFlight > this.#mostInFlight) this.#mostInFlight = inFlight
    if (this.#count >= this.#options.minSamples) this.#closeIfLongEnough(nowMs)
  }

  #closeIfLongEnough(nowMs: number): void {
    const meanMs = Math.max(LEAST_LATENCY_MS, this.#sumMs / this.#count)
    const neededMs = Math.max(this.#options.windowMs, LATENCIES_A_WINDOW * meanMs)
    if (nowMs - this.#startedMs < neededMs) return
    this.latencyMs = meanMs
    if (this.#probe !== undefined) this.#goOnProbing(this.#probe, meanMs, nowMs)
    else this.#judge(meanMs, nowMs)
    this.#startedMs = nowMs
    this.#sumMs = 0
    this.#count = 0
    this.#mostInFlight = 0
    this.#wasHeldBack = this.#isHeldBack
    this.#isHeldBack = false
  }

  #judge(meanMs: number, nowMs: number): void {
    if (this.baselineMs === 0 || meanMs < this.baselineMs) this.baselineMs = meanMs
    if (this.#isProbeDue(nowMs)) return this.#startProbing(meanMs, nowMs)
    // what is not reached says nothing about itself
    if (this.#mostInFlight < this.#limit / 2) return
    const ideal = (this.#options.tolerance * this.baselineMs) / meanMs
    const gradient = Math.max(LEAST_GRADIENT, Math.min(1, ideal))
    const target = this.#limit * gradient + Math.sqrt(this.#limit)
    this.#setLimit(this.#limit + SMOOTHING * (target - this.#limit))
  }

  #isProbeDue(nowMs: number): boolean {
    // in the first such window latency is still rising
    if (!this.#isHeldBack || !this.#wasHeldBack) return false
    const sinceMs = nowMs - this.#probedMs
    if (sinceMs >= this.#options.probeIntervalMs) this.#probeGapMs = 0
    const hasShrunk = this.#limit <= this.#limitAtProbe / 2
    return sinceMs >= (hasShrunk ? FIRST_PROBE_GAP_MS : this.#probeGapMs)
  }

  #probed(baselineMs: number, nowMs: number): void {
    this.baselineMs = baselineMs
    this.#probedMs = nowMs
    this.#probeGapMs = Math.min(
      this.#options.probeIntervalMs,
      Math.max(FIRST_PROBE_GAP_MS, 2 * this.#probeGapMs)
    )
  }

  #startProbing(meanMs: number, nowMs: number): void {
    if (this.#limit / 2 < this.#options.minLimit) {
      // so few can't be made fewer: this is as quick as it gets
      this.#probed(meanMs, nowMs)
      return
    }
    this.#probe = { limitBefore: this.#limit, latencyMs: meanMs, limit: this.#limit }
    this.#setLimit(this.#limit / 2)
  }

  #goOnProbing(probe: Probe, meanMs: number, nowMs: number): void {
    const isWorthIt = meanMs < WORTH_HALVING * probe.latencyMs
    if (isWorthIt && this.#limit / 2 >= this.#options.minLimit) {
      probe.latencyMs = meanMs
      probe.limit = this.#limit
      this.#setLimit(this.#limit / 2)
      return
    }
    this.#probe = undefined
    this.#probed(Math.min(meanMs, probe.latencyMs), nowMs)
    // the last limit that was seen to be without queueing, and the room it is allowed
    this.#setLimit(Math.min(probe.limitBefore, probe.limit * this.#options.tolerance))
    this.#limitAtProbe = this.#limit
  }

  #setLimit(limit: number): void {
    this.#limit = Math.max(this.#options.minLimit, Math.min(this.#options.maxLimit, limit))
    this.#whole = Math.floor(this.#limit)
  }
}
