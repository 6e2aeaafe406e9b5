import { Family } from './family.ts'
import type { FamilyLimits, FamilyOptions, Series } from './family.ts'
import type { Labels } from './series-labels.ts'

export interface Gauge extends Series {
  readonly value: number
  set(value: number): void
  /** @param amount may be negative; default 1 */
  add(amount?: number): void
}

class GaugeSeries implements Gauge {
  id = 0
  labelText: string | undefined = undefined
  value = 0
  dropped = false
  readonly values: readonly string[]
  readonly #family: GaugeFamily

  constructor(values: readonly string[], family: GaugeFamily) {
    this.values = values
    this.#family = family
  }

  set(value: number): void {
    if (this.dropped) {
      const live = this.#family.revive(this)
      if (live !== this) return live.set(value)
    }
    this.value = value
  }

  add(amount: number = 1): void {
    this.set(this.value + amount)
  }

  get activity(): number {
    return this.value
  }

  reset(): void {
    this.value = 0
  }
}

export interface GaugeOptions extends FamilyOptions {
  /** Reads the value, or one value for each set of labels, when somebody looks. */
  readonly collect?: () => number | Iterable<readonly [Labels, number]>
}

/** Values that rise and fall. A gauge is a state, so it is never dropped for standing still. */
export class GaugeFamily extends Family<Gauge> {
  readonly type = 'gauge'
  readonly #collect: GaugeOptions['collect']

  constructor(options: GaugeOptions, limits: FamilyLimits) {
    super(options, limits)
    this.#collect = options.collect
  }

  protected create(values: readonly string[]): Gauge {
    return new GaugeSeries(values, this)
  }

  override dropIdle(): void {}

  /** A reset forgets what was counted; what a gauge shows is still so. */
  override reset(): void {}

  /** Fills the series from `collect`, if there is one; those it no longer names are dropped. */
  refresh(): void {
    if (this.#collect === undefined) return
    const collected = this.#collect()
    if (typeof collected === 'number') {
      this.with().set(collected)
      return
    }
    const present = new Set<Gauge>()
    for (const [labels, value] of collected) {
      const series = this.with(labels)
      series.set(value)
      present.add(series)
    }
    for (const series of this.series) if (!present.has(series)) this.drop(series)
  }
}
