/** How much may be spent on compression: all, the least that compresses at all, nothing. */
export type Load = 'normal' | 'saturated' | 'severe'

export interface LoadThresholds {
  /** Ratios from 0 to 1. */
  readonly lowerAbove: number
  readonly restoreBelow: number
  readonly skipAbove: number
}

const SAMPLES_TO_LOWER = 2
const SAMPLES_TO_SKIP = 5
const SAMPLES_TO_RESTORE = 5

/**
 * Turns how busy a process is, sampled in even steps, into what compression may cost. Goes up after
 * two busy samples, on to nothing after five that are at the limit, and back one step after five
 * calm ones: lowering the level calms the process, so without that it would swing.
 */
export class LoadLevel {
  #state: Load = 'normal'
  #utilisation = 0
  #busy = 0
  #atLimit = 0
  #calm = 0
  readonly #thresholds: LoadThresholds

  constructor(thresholds: LoadThresholds) {
    this.#thresholds = thresholds
  }

  get state(): Load {
    return this.#state
  }

  /** The last sample. */
  get utilisation(): number {
    return this.#utilisation
  }

  /** @param utilisation from 0 to 1; what is not a number is no sample */
  observe(utilisation: number): void {
    if (!Number.isFinite(utilisation)) return
    const { lowerAbove, restoreBelow, skipAbove } = this.#thresholds
    this.#utilisation = utilisation
    this.#busy = utilisation > lowerAbove ? this.#busy + 1 : 0
    this.#calm = utilisation < restoreBelow ? this.#calm + 1 : 0
    this.#atLimit = this.#state !== 'normal' && utilisation > skipAbove ? this.#atLimit + 1 : 0
    this.#move()
  }

  #move(): void {
    if (this.#state === 'normal') {
      if (this.#busy >= SAMPLES_TO_LOWER) this.#enter('saturated')
    } else if (this.#calm >= SAMPLES_TO_RESTORE) {
      this.#enter(this.#state === 'severe' ? 'saturated' : 'normal')
    } else if (this.#state === 'saturated' && this.#atLimit >= SAMPLES_TO_SKIP) {
      this.#enter('severe')
    }
  }

  #enter(state: Load): void {
    this.#state = state
    this.#busy = 0
    this.#calm = 0
    this.#atLimit = 0
  }
}
