import type { Counter, CounterFamily } from '../counter.ts'
import type { GaugeFamily } from '../gauge.ts'
import type { RecordSink } from '../histogram.ts'
import { EMPTY_BLOCK, NO_SCALARS, bytesOf, mergeBlocks, scalarsOf } from './block.ts'
import type { Block, Scalars } from './block.ts'
import { DeltaTable } from './delta-table.ts'
import { mergeRuns } from './run.ts'
import type { Run } from './run.ts'
import { Window } from './window.ts'
import type { FamilyLookup } from './window.ts'

export interface HistoryOptions {
  /** Seconds between two snapshots. */
  readonly slotSeconds: number
  /** Hours after which figures are forgotten. */
  readonly retentionHours: number
  /** Most bytes of all blocks together. */
  readonly maxBytes: number
}

/** What the history reads at the end of each slot. */
export interface HistorySources {
  readonly family: FamilyLookup
  readonly counters: () => Iterable<CounterFamily>
  readonly gauges: () => Iterable<GaugeFamily>
  /** Monotonic milliseconds. */
  readonly now: () => number
}

/** How long slots are kept as they are before they become minutes. */
const FINE_MS = 5 * 60_000
const MINUTE_MS = 60_000

/** A slot with more runs than this has them merged: its memory follows what differs, not how often. */
const MOST_RUNS = 16

/** With so few blocks left, a history that is still too large forgets instead of merging. */
const MIN_MINUTES = 8

/** One point of a time series: the distribution between two moments. */
export interface HistoryPoint {
  readonly startMs: number
  readonly endMs: number
  readonly window: Window
}

/**
 * What happened when: every slot (5 s) the differences since the last one, for five minutes;
 * then minutes, for a day. Beyond `maxBytes` the oldest neighbours are merged, so old times get
 * coarser before they are forgotten.
 *
 * Nothing is kept for what was quiet, and quantiles come from merged buckets, never from averages.
 */
export class History {
  readonly #options: HistoryOptions
  readonly #sources: HistorySources
  readonly #table: DeltaTable
  /** What each counter stood at when the slot began; a revived one has a new id and counts anew. */
  readonly #totals = new WeakMap<Counter, { readonly id: number; readonly value: number }>()
  #slotStartMs: number
  #slotRuns: Run[] = []
  /** Blocks of a slot each, oldest first. */
  #slots: Block[] = []
  /** What was before the slots: blocks of a minute, or longer where memory ran out. */
  #minutes: Block[] = []

  constructor(options: HistoryOptions, sources: HistorySources) {
    this.#options = options
    this.#sources = sources
    this.#slotStartMs = sources.now()
    this.#table = new DeltaTable((run) => this.#addRun(run))
  }

  /** Where histograms put what they record. */
  get sink(): RecordSink {
    return this.#table
  }

  /** Bytes held by all blocks. */
  get bytes(): number {
    return this.#blocks.reduce((sum, block) => sum + bytesOf(block), 0)
  }

  /** Seconds the history reaches back. */
  get coveredSeconds(): number {
    return (this.#sources.now() - (this.#blocks[0]?.startMs ?? this.#slotStartMs)) / 1000
  }

  /** Ends the slot. The hub calls this every `slotSeconds`. */
  tick(): void {
    const now = this.#sources.now()
    const run = mergeRuns([...this.#slotRuns, this.#table.take()])
    const counters = this.#gains()
    const gauges = this.#levels()
    this.#slotRuns = []
    this.#slots.push({ startMs: this.#slotStartMs, endMs: now, run, counters, gauges })
    this.#slotStartMs = now
    this.#rollUp(now)
    this.#forget(now)
  }

  /**
   * The last `seconds`, up to this moment.
   * @param seconds more than 0; cut to what the history covers
   */
  window(seconds: number): Window {
    const now = this.#sources.now()
    return this.between(now - seconds * 1000, now)
  }

  /** The time between two moments, monotonic milliseconds, widened to whole blocks. */
  between(startMs: number, endMs: number): Window {
    const blocks = this.#blocks.filter((block) => block.endMs > startMs && block.startMs < endMs)
    const live = this.#live()
    if (live.endMs >= startMs && live.startMs <= endMs) blocks.push(live)
    const first = blocks[0]?.startMs ?? startMs
    return new Window(blocks, first, blocks.at(-1)?.endMs ?? endMs, this.#sources.family)
  }

  /** One window for each block of the last `seconds`: a time series of any figure. */
  series(seconds: number): HistoryPoint[] {
    const from = this.#sources.now() - seconds * 1000
    return this.#blocks
      .filter((block) => block.endMs > from)
      .map(({ startMs, endMs }, i, kept) => ({
        startMs,
        endMs,
        window: new Window([kept[i]!], startMs, endMs, this.#sources.family)
      }))
  }

  /** Forgets everything. */
  clear(): void {
    this.#table.take()
    this.#slotRuns = []
    this.#slots = []
    this.#minutes = []
    this.#gains()
    this.#slotStartMs = this.#sources.now()
  }

  #addRun(run: Run): void {
    this.#slotRuns.push(run)
    if (this.#slotRuns.length >= MOST_RUNS) this.#slotRuns = [mergeRuns(this.#slotRuns)]
  }

  get #blocks(): Block[] {
    return [...this.#minutes, ...this.#slots]
  }

  /** The slot that is still open. Counters and gauges are read, not ended. */
  #live(): Block {
    const run = mergeRuns([...this.#slotRuns, this.#table.peek()])
    const counters = scalarsOf(this.#openGains())
    const endMs = this.#sources.now()
    return { ...EMPTY_BLOCK, startMs: this.#slotStartMs, endMs, run, counters }
  }

  /** What counters gained since the last slot; from here on they are compared with now. */
  #gains(): Scalars {
    const gains = this.#openGains()
    for (const family of this.#sources.counters()) {
      for (const counter of family.series) {
        this.#totals.set(counter, { id: counter.id, value: counter.value })
      }
    }
    return scalarsOf(gains)
  }

  /** Counters that rose since the slot began, by id. One that was reset counts from zero. */
  #openGains(): (readonly [id: number, gain: number])[] {
    const gains: (readonly [number, number])[] = []
    for (const family of this.#sources.counters()) {
      for (const counter of family.series) {
        const total = this.#totals.get(counter)
        const before = total?.id === counter.id ? total.value : 0
        const gain = counter.value >= before ? counter.value - before : counter.value
        if (gain > 0 && counter.id !== 0) gains.push([counter.id, gain])
      }
    }
    return gains
  }

  #levels(): Scalars {
    const levels: (readonly [number, number])[] = []
    for (const family of this.#sources.gauges()) {
      for (const gauge of family.series) {
        if (gauge.id !== 0 && Number.isFinite(gauge.value)) levels.push([gauge.id, gauge.value])
      }
    }
    return levels.length === 0 ? NO_SCALARS : scalarsOf(levels)
  }

  /** Slots older than five minutes become one block a minute. */
  #rollUp(nowMs: number): void {
    const first = this.#slots[0]
    if (first === undefined || first.startMs > nowMs - FINE_MS - MINUTE_MS) return
    const end = this.#slots.findIndex((slot) => slot.endMs > first.startMs + MINUTE_MS)
    const minute = this.#slots.splice(0, end === -1 ? this.#slots.length : Math.max(1, end))
    this.#minutes.push(mergeBlocks(minute))
  }

  #forget(nowMs: number): void {
    const oldestMs = nowMs - this.#options.retentionHours * 3_600_000
    while (this.#minutes.length > 0 && this.#minutes[0]!.endMs < oldestMs) this.#minutes.shift()
    while (this.bytes > this.#options.maxBytes) {
      if (this.#minutes.length > MIN_MINUTES) this.#mergeMinutes(nowMs)
      else if (this.#minutes.length > 0) this.#minutes.shift()
      else if (this.#slots.length > 0) this.#slots.shift()
      else return
    }
  }

  /** Merges the two neighbours whose common length is shortest for their age. */
  #mergeMinutes(nowMs: number): void {
    let best = 0
    let shortest = Infinity
    for (let i = 0; i + 1 < this.#minutes.length; i++) {
      const length = this.#minutes[i + 1]!.endMs - this.#minutes[i]!.startMs
      const share = length / (nowMs - this.#minutes[i]!.startMs)
      if (share < shortest) {
        shortest = share
        best = i
      }
    }
    const pair = this.#minutes.slice(best, best + 2)
    this.#minutes.splice(best, 2, mergeBlocks(pair))
  }
}
