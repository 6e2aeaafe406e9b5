import { Readable } from 'node:stream'
import { Registry } from 'prom-client'
import { CounterFamily } from './counter.ts'
import type { CounterOptions } from './counter.ts'
import { NamedRegistry } from './doors.ts'
import type { Action, Detector, View } from './doors.ts'
import { VitalsDeclarationError } from './errors.ts'
import { FamilyBridge } from './exposition/family-bridge.ts'
import { exposedAs } from './exposition/metric-source.ts'
import type { AnyFamily, PromRegistry } from './exposition/metric-source.ts'
import { CONTENT_TYPES, negotiateFormat } from './exposition/negotiate.ts'
import { scrape } from './exposition/scrape.ts'
import type { FamilyLimits } from './family.ts'
import { GaugeFamily } from './gauge.ts'
import type { GaugeOptions } from './gauge.ts'
import { BucketHistogramFamily, HistogramFamily } from './histogram.ts'
import type { BucketHistogramOptions, HistogramOptions } from './histogram.ts'
import { History } from './history/history.ts'
import { SeriesIds } from './history/series-ids.ts'
import { Measures } from './measure.ts'
import type { StopMeasure } from './measure.ts'
import type { ResolvedMetricsOptions } from './options.ts'
import { PageSlab } from './page-slab.ts'
import type { RequestContext } from './requests/request-context.ts'
import type { Labels } from './series-labels.ts'
import { takeSnapshot } from './snapshot.ts'
import type { Snapshot } from './snapshot.ts'
import type { Exposition, Vitals } from './vitals.ts'

const IDLE_LOOKS_PER_PERIOD = 10
const HOUR_MS = 3_600_000

/** What a hub stands on; tests bring a clock of their own. */
export interface HubParts {
  readonly requests: RequestContext
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Told of what went wrong in a callback that somebody gave us. */
  readonly onError: (what: string, error: unknown) => void
}

/** The hub: declares metrics, keeps their history, and shows them. Knows nothing of HTTP. */
export class Hub implements Vitals {
  readonly requests: RequestContext
  readonly registry: PromRegistry
  readonly history: History
  readonly durationBuckets: readonly number[]
  readonly detectors: NamedRegistry<Detector> = new NamedRegistry('detector')
  readonly views: NamedRegistry<View> = new NamedRegistry('view')
  readonly actions: NamedRegistry<Action> = new NamedRegistry('action')
  readonly #options: ResolvedMetricsOptions
  readonly #parts: HubParts
  readonly #limits: FamilyLimits
  readonly #slab = new PageSlab()
  readonly #families = new Map<string, AnyFamily>()
  readonly #bridges: FamilyBridge[] = []
  readonly #measures: Measures
  readonly #slotCallbacks: ((nowMs: number) => void)[] = []
  readonly #resetCallbacks: (() => void)[] = []
  #lookedForIdleMs: number

  constructor(options: ResolvedMetricsOptions, parts: HubParts) {
    this.#options = options
    this.#parts = parts
    this.requests = parts.requests
    this.registry = options.registry ?? new Registry()
    this.durationBuckets = options.durationBuckets
    this.#lookedForIdleMs = parts.now()
    const ids = new SeriesIds(options.history.retentionHours * HOUR_MS, parts.now)
    this.#limits = {
      maxSeries: options.maxSeries,
      allocateId: () => ids.allocate(),
      releaseId: (id) => ids.release(id)
    }
    this.history = new History(options.history, {
      family: (name) => this.#families.get(name),
      counters: () => this.families.filter((family) => family instanceof CounterFamily),
      gauges: () => this.families.filter((family) => family instanceof GaugeFamily),
      now: parts.now
    })
    this.#measures = new Measures((measure) => this.histogram(measure), parts.now, parts.onError)
  }

  get families(): AnyFamily[] {
    return [...this.#families.values()]
  }

  counter(options: CounterOptions): CounterFamily {
    return this.#declare(new CounterFamily(options, this.#limits))
  }

  gauge(options: GaugeOptions): GaugeFamily {
    return this.#declare(new GaugeFamily(options, this.#limits))
  }

  histogram(options: HistogramOptions): HistogramFamily {
    return this.#declare(new HistogramFamily(options, this.#limits, this.history.sink, this.#slab))
  }

  bucketHistogram(options: BucketHistogramOptions): BucketHistogramFamily {
    return this.#declare(new BucketHistogramFamily(options, this.#limits))
  }

  startMeasure(name: string, labels?: Labels): StopMeasure {
    return this.#measures.start(name, labels)
  }

  trackAsyncOperation<Result>(
    name: string,
    operation: () => Promise<Result> | Result,
    labels?: Labels
  ): Promise<Result> {
    return this.#measures.track(name, operation, labels)
  }

  snapshot(): Snapshot {
    this.#refreshAll()
    return takeSnapshot(this.#families.values())
  }

  scrape(accept?: string): Exposition {
    const format = negotiateFormat(accept)
    this.#refreshAll()
    const chunks = scrape(this.families, this.registry, format, this.#options, (metric, error) =>
      this.#parts.onError(`metric ${metric}`, error)
    )
    const body = Readable.from(chunks, { highWaterMark: 2 })
    return { contentType: CONTENT_TYPES[format], body }
  }

  onSlot(callback: (nowMs: number) => void): void {
    this.#slotCallbacks.push(callback)
  }

  onReset(callback: () => void): void {
    this.#resetCallbacks.push(callback)
  }

  /** Ends a slot: called by a timer, off the hot path. */
  endSlot(): void {
    const nowMs = this.#parts.now()
    this.#refreshAll()
    this.history.tick()
    this.#dropIdle(nowMs)
    for (const callback of this.#slotCallbacks) {
      this.#guard('a slot callback', () => callback(nowMs))
    }
  }

  /** Forgets all figures. */
  reset(): void {
    for (const family of this.#families.values()) family.reset()
    this.history.clear()
    for (const callback of this.#resetCallbacks) this.#guard('a reset callback', callback)
  }

  /** Takes everything of ours out of the registry, which may outlive us. */
  close(): void {
    for (const bridge of this.#bridges) {
      if (this.registry.getSingleMetric(bridge.name) === bridge) {
        this.registry.removeSingleMetric(bridge.name)
      }
    }
  }

  #declare<Declared extends AnyFamily>(family: Declared): Declared {
    const bridges = exposedAs(family, this.#options.naming).map(
      (as) => new FamilyBridge(family, as, (read) => this.#refresh(read))
    )
    const taken = bridges.find((bridge) => this.registry.getSingleMetric(bridge.name) !== undefined)
    if (taken !== undefined || this.#families.has(family.name)) {
      throw new VitalsDeclarationError(
        `the metric ${taken?.name ?? family.name} is already in the registry; two plugins (or you and we) declare it`
      )
    }
    for (const bridge of bridges) this.registry.registerMetric(bridge as never)
    this.#bridges.push(...bridges)
    this.#families.set(family.name, family)
    return family
  }

  #refreshAll(): void {
    // what was declared first tells about the others, so it is read last
    for (const family of this.families.toReversed()) this.#refresh(family)
  }

  #refresh(family: AnyFamily): void {
    if ('refresh' in family) this.#guard(`metric ${family.name}`, () => family.refresh())
  }

  #dropIdle(nowMs: number): void {
    const idleMs = this.#options.idleSeriesSeconds * 1000
    if (idleMs === 0 || nowMs - this.#lookedForIdleMs < idleMs / IDLE_LOOKS_PER_PERIOD) return
    this.#lookedForIdleMs = nowMs
    for (const family of this.#families.values()) family.dropIdle(nowMs, idleMs)
  }

  #guard(what: string, callback: () => void): void {
    try {
      callback()
    } catch (error) {
      this.#parts.onError(what, error)
    }
  }
}
