import { LabelIndex, OTHER, checkNames, labelValues } from './series-labels.ts'
import type { Labels } from './series-labels.ts'

/** How a metric is called under OpenTelemetry's semantic conventions. */
export interface OpenTelemetryNames {
  /** Name as a Prometheus exporter would print it, unit included. */
  readonly name: string
  /** OpenTelemetry's label for each of ours that differs. */
  readonly labels?: Readonly<Record<string, string>>
}

export interface FamilyOptions {
  readonly name: string
  readonly help: string
  readonly labelNames?: readonly string[]
  readonly opentelemetry?: OpenTelemetryNames
  /** Keep this metric in `vitals.history`. Default true. */
  readonly history?: boolean
}

/** What every series of a family has, whatever it counts. */
export interface Series {
  /** Identifies the series in the history; 0 when it has no place there. */
  id: number
  /** Label values in the order of the family's `labelNames`. */
  readonly values: readonly string[]
  /** Its labels as text under the metric's own name; made at the first scrape. */
  labelText: string | undefined
  /** True while the series is left out of the exposition because it was idle. */
  dropped: boolean
  /** Rises with every write; a series is idle while it stands still. */
  readonly activity: number
  reset(): void
}

/** What a family needs of its hub. */
export interface FamilyLimits {
  /** Most series of one metric; more share one series whose labels are all `_OTHER`. */
  readonly maxSeries: number
  /** @returns an id for the history, or 0 when none is free */
  allocateId(): number
  releaseId(id: number): void
}

interface Idle {
  activity: number
  sinceMs: number
}

/**
 * The series of one metric. A series is looked up once, by `with`, and then written without
 * hashing labels. Memory is bounded by `maxSeries`; refusals are counted, not thrown.
 */
export abstract class Family<Child extends Series> {
  abstract readonly type: 'counter' | 'gauge' | 'histogram'
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
  readonly opentelemetry: OpenTelemetryNames | undefined
  readonly inHistory: boolean
  /** How often a new series was refused because the metric was full. */
  refused = 0
  /** How many series were dropped for being idle. */
  droppedCount = 0
  /** Label values of the series refused last, as an example for whoever looks for the culprit. */
  lastRefused: readonly string[] | undefined
  protected readonly limits: FamilyLimits
  readonly #index: LabelIndex<Child>
  readonly #series = new Set<Child>()
  readonly #idle = new WeakMap<Child, Idle>()

  /** @throws VitalsDeclarationError for names that Prometheus would refuse */
  constructor(options: FamilyOptions, limits: FamilyLimits) {
    checkNames(options.name, options.labelNames ?? [])
    this.name = options.name
    this.help = options.help
    this.labelNames = [...(options.labelNames ?? [])]
    this.opentelemetry = options.opentelemetry
    this.inHistory = options.history ?? true
    this.limits = limits
    this.#index = new LabelIndex(this.labelNames.length)
  }

  protected abstract create(values: readonly string[]): Child

  /**
   * The series with these label values, made when it is new. Keep it: this is not for hot paths.
   * @throws VitalsDeclarationError when labels are missing or not declared
   */
  with(labels: Labels = {}): Child {
    const values = labelValues(this.name, this.labelNames, labels)
    const known = this.#index.get(values)
    if (known !== undefined) return known
    if (this.#series.size < this.limits.maxSeries) return this.#add(values)
    this.refused++
    this.lastRefused = values
    const rest = this.labelNames.map(() => OTHER)
    return this.#index.get(rest) ?? this.#add(rest)
  }

  /** Live series, oldest first. */
  get series(): Iterable<Child> {
    return this.#series
  }

  /** The live series as they are now, for readers that give way in between. */
  list(): Child[] {
    return [...this.#series]
  }

  get size(): number {
    return this.#series.size
  }

  /** Forgets a series at once. Whoever holds it may go on writing: that brings it back, from zero. */
  drop(series: Child): void {
    if (!this.#series.delete(series)) return
    this.#index.delete(series.values)
    this.limits.releaseId(series.id)
    series.id = 0
    series.dropped = true
    series.reset()
    this.droppedCount++
  }

  /**
   * A dropped series is about to be written. It was admitted before, so the bound doesn't apply.
   * @returns the series to write: another one, when somebody asked for its labels meanwhile
   */
  revive(series: Child): Child {
    const other = this.#index.get(series.values)
    if (other !== undefined) return other
    series.dropped = false
    series.id = this.inHistory ? this.limits.allocateId() : 0
    this.#series.add(series)
    this.#index.set(series.values, series)
    return series
  }

  /** Drops the series that have not been written for `idleMs`. Call it now and then. */
  dropIdle(nowMs: number, idleMs: number): void {
    for (const series of this.#series) {
      const { activity } = series
      const idle = this.#idle.get(series)
      if (idle === undefined || idle.activity !== activity) {
        this.#idle.set(series, { activity, sinceMs: nowMs })
      } else if (nowMs - idle.sinceMs >= idleMs) {
        this.drop(series)
      }
    }
  }

  /** Every series back to zero. */
  reset(): void {
    for (const series of this.#series) series.reset()
  }

  #add(values: readonly string[]): Child {
    const series = this.create(values)
    series.id = this.inHistory ? this.limits.allocateId() : 0
    this.#series.add(series)
    this.#index.set(values, series)
    return series
  }
}
