export interface OutlierEjectionOptions {
  /** Number of origins. */
  readonly origins: number
  /** Failures in a row after which an origin is taken out. */
  readonly consecutiveFailures: number
  /** How long it is out the first time; the nth time in a row n times as long. */
  readonly baseEjectionMs: number
  readonly maxEjectionMs: number
  /** Never more of the origins are out at once, from 0 to 1. The last one never is. */
  readonly maxEjectedShare: number
}

interface Standing {
  /** In a row. */
  failures: number
  /** In a row; what `baseEjectionMs` is multiplied by. */
  ejections: number
  /** 0 when never. */
  ejectedUntilMs: number
}

/**
 * Takes origins that fail again and again out for a while (after Envoy's outlier detection).
 *
 * They come back by themselves when their time is over, with a clean slate but for how often they
 * were out: that is forgiven one ejection for each `baseEjectionMs` they stayed in.
 * Results that come in while an origin is out are of calls made before, and change nothing.
 * Needs no timer. Time: constant, and one pass over the origins when one is to be ejected.
 */
export class OutlierEjection {
  readonly #options: OutlierEjectionOptions
  readonly #standings: readonly Standing[]
  readonly #maxEjected: number

  constructor(options: OutlierEjectionOptions) {
    this.#options = options
    const { origins, maxEjectedShare } = options
    this.#standings = Array.from({ length: origins }, () => ({
      failures: 0,
      ejections: 0,
      ejectedUntilMs: 0
    }))
    // 0.29 of 100 is 28.999999999999996
    this.#maxEjected = Math.min(Math.floor(origins * maxEjectedShare + 1e-9), origins - 1)
  }

  /** @param nowMs monotonic milliseconds */
  isEjected(index: number, nowMs: number): boolean {
    return nowMs < this.ejectedUntilMs(index)
  }

  /** When it comes, or came, back; 0 when it never was out. */
  ejectedUntilMs(index: number): number {
    return this.#standings[index]?.ejectedUntilMs ?? 0
  }

  /** How many are out. */
  ejected(nowMs: number): number {
    let out = 0
    for (const standing of this.#standings) if (nowMs < standing.ejectedUntilMs) out++
    return out
  }

  /**
   * A call to an origin has ended.
   * @param isFailure of the origin: an error of the connection, a 5xx. Not what the caller did.
   * @returns whether this ejected it
   */
  record(index: number, isFailure: boolean, nowMs: number): boolean {
    const standing = this.#standings[index]
    if (standing === undefined || nowMs < standing.ejectedUntilMs) return false
    if (!isFailure) {
      standing.failures = 0
      return false
    }
    standing.failures++
    if (standing.failures < this.#options.consecutiveFailures) return false
    // it stays a candidate: the next failure asks again
    if (this.ejected(nowMs) >= this.#maxEjected) return false
    this.#eject(standing, nowMs)
    return true
  }

  #eject(standing: Standing, nowMs: number): void {
    const { baseEjectionMs, maxEjectionMs } = this.#options
    const forgiven = Math.floor((nowMs - standing.ejectedUntilMs) / baseEjectionMs)
    standing.ejections = Math.max(0, standing.ejections - forgiven) + 1
    standing.ejectedUntilMs = nowMs + Math.min(maxEjectionMs, baseEjectionMs * standing.ejections)
    standing.failures = 0
  }
}
