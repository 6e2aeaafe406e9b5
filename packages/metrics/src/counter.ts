import { Family } from './family.ts'
import type { FamilyLimits, FamilyOptions, Series } from './family.ts'

export interface Counter extends Series {
  readonly value: number
  /** @param amount at least 0, default 1; anything else is ignored */
  add(amount?: number): void
}

class CounterSeries implements Counter {
  id = 0
  labelText: string | undefined = undefined
  value = 0
  dropped = false
  readonly values: readonly string[]
  readonly #family: CounterFamily

  constructor(values: readonly string[], family: CounterFamily) {
    this.values = values
    this.#family = family
  }

  add(amount: number = 1): void {
    if (this.dropped) {
      const live = this.#family.revive(this)
      if (live !== this) return live.add(amount)
    }
    if (amount >= 0) this.value += amount
  }

  get activity(): number {
    return this.value
  }

  reset(): void {
    this.value = 0
  }
}

export interface CounterOptions extends FamilyOptions {
  /** Reads the total at scrape time instead of `add`, for something that counts by itself. */
  readonly collect?: () => number
}

/** Totals that only rise. By convention the name ends in `_total`. */
export class CounterFamily extends Family<Counter> {
  readonly type = 'counter'
  readonly #collect: (() => number) | undefined

  constructor(options: CounterOptions, limits: FamilyLimits) {
    super(options, limits)
    this.#collect = options.collect
  }

  protected create(values: readonly string[]): Counter {
    return new CounterSeries(values, this)
  }

  /** Fills the series from `collect`, if there is one. */
  refresh(): void {
    if (this.#collect === undefined) return
    const series = this.with()
    series.add(this.#collect() - series.value)
  }
}
