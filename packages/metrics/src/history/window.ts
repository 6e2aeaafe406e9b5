import type { Family, Series } from '../family.ts'
import { HistogramSnapshot } from '../histogram-snapshot.ts'
import type { Labels } from '../series-labels.ts'
import { scalarOf } from './block.ts'
import type { Block } from './block.ts'
import { bucketOfKey, mergeRuns, rangeOf } from './run.ts'
import type { Run } from './run.ts'

/** One series of a window, with its labels. */
export interface WindowSeries<Value> {
  readonly labels: Readonly<Record<string, string>>
  readonly value: Value
}

/** How the window finds a metric: the hub's families by name. */
export type FamilyLookup = (name: string) => Family<Series> | undefined

/**
 * What happened in a stretch of time, over all metrics: the differences of cumulative figures, never
 * the figures themselves. Made off the hot path; immutable.
 */
export class Window {
  /** Monotonic milliseconds. A window starts and ends with slots, so it may be a slot longer. */
  readonly startMs: number
  readonly endMs: number
  readonly #blocks: readonly Block[]
  readonly #family: FamilyLookup
  #merged: Run | undefined

  constructor(blocks: readonly Block[], startMs: number, endMs: number, family: FamilyLookup) {
    this.#blocks = blocks
    this.startMs = startMs
    this.endMs = endMs
    this.#family = family
  }

  /** Length in seconds: divide by this for a rate. */
  get seconds(): number {
    return (this.endMs - this.startMs) / 1000
  }

  /** The distributions of a histogram's series that saw anything, all or those with these labels. */
  histograms(name: string, labels: Labels = {}): WindowSeries<HistogramSnapshot>[] {
    this.#merged ??= mergeRuns(this.#blocks.map((block) => block.run))
    const run = this.#merged
    return this.#matching(name, labels, (id) => {
      const [from, to] = rangeOf(run, id)
      if (from === to) return undefined
      const buckets = Uint16Array.from(run.keys.subarray(from, to), bucketOfKey)
      return new HistogramSnapshot(buckets, run.counts.subarray(from, to))
    })
  }

  /** The same, merged to one distribution. */
  histogram(name: string, labels: Labels = {}): HistogramSnapshot {
    return HistogramSnapshot.merge(this.histograms(name, labels).map((series) => series.value))
  }

  /** What a counter gained: the sum over its series with these labels. */
  counter(name: string, labels: Labels = {}): number {
    return this.counters(name, labels).reduce((sum, series) => sum + series.value, 0)
  }

  /** What each series of a counter gained. */
  counters(name: string, labels: Labels = {}): WindowSeries<number>[] {
    return this.#matching(name, labels, (id) => {
      let gained: number | undefined
      for (const block of this.#blocks) {
        const found = scalarOf(block.counters, id)
        if (found !== undefined) gained = (gained ?? 0) + found.value
      }
      return gained
    })
  }

  /** Last and highest value of each series of a gauge. */
  gauges(name: string, labels: Labels = {}): WindowSeries<{ last: number; max: number }>[] {
    return this.#matching(name, labels, (id) => {
      let state: { last: number; max: number } | undefined
      for (const block of this.#blocks) {
        const found = scalarOf(block.gauges, id)
        if (found === undefined) continue
        state = { last: found.value, max: Math.max(state?.max ?? -Infinity, found.peak) }
      }
      return state
    })
  }

  #matching<Value>(
    name: string,
    labels: Labels,
    read: (id: number) => Value | undefined
  ): WindowSeries<Value>[] {
    const family = this.#family(name)
    if (family === undefined) return []
    const wanted = Object.entries(labels).map(
      ([label, value]) => [family.labelNames.indexOf(label), String(value)] as const
    )
    const found: WindowSeries<Value>[] = []
    for (const series of family.series) {
      if (series.id === 0 || wanted.some(([at, value]) => series.values[at] !== value)) continue
      const value = read(series.id)
      if (value !== undefined) found.push({ labels: namedValues(family, series), value })
    }
    return found
  }
}

function namedValues(family: Family<Series>, series: Series): Record<string, string> {
  return Object.fromEntries(family.labelNames.map((label, i) => [label, series.values[i]!]))
}
