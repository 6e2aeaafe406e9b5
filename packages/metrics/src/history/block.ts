import { EMPTY_RUN, coarsen, mergeRuns } from './run.ts'
import type { Run } from './run.ts'

/** One number a series: what a counter gained, or where a gauge stood and how high it was. */
export interface Scalars {
  readonly ids: Uint32Array
  /** Gain of a counter; last value of a gauge. */
  readonly values: Float64Array
  /** Gain of a counter; highest value of a gauge. */
  readonly peaks: Float64Array
}

/** Everything that happened between two moments, monotonic milliseconds. Immutable. */
export interface Block {
  readonly startMs: number
  readonly endMs: number
  readonly run: Run
  readonly counters: Scalars
  readonly gauges: Scalars
}

export const NO_SCALARS: Scalars = {
  ids: new Uint32Array(0),
  values: new Float64Array(0),
  peaks: new Float64Array(0)
}

export const EMPTY_BLOCK: Block = {
  startMs: 0,
  endMs: 0,
  run: EMPTY_RUN,
  counters: NO_SCALARS,
  gauges: NO_SCALARS
}

/** Bytes of the arrays of a block, and a rough 300 for the objects around them. */
export function bytesOf(block: Block): number {
  const entries = block.counters.ids.length + block.gauges.ids.length
  return 300 + block.run.keys.length * 8 + entries * 20
}

/** Neighbouring blocks as one, at the coarser resolution of old times. */
export function mergeBlocks(blocks: readonly Block[]): Block {
  return {
    startMs: blocks[0]!.startMs,
    endMs: blocks.at(-1)!.endMs,
    run: coarsen(mergeRuns(blocks.map((block) => block.run))),
    counters: mergeScalars(
      blocks.map((block) => block.counters),
      (a, b) => a + b
    ),
    gauges: mergeScalars(
      blocks.map((block) => block.gauges),
      (_, later) => later
    )
  }
}

function mergeScalars(
  parts: readonly Scalars[],
  operation: (before: number, later: number) => number
): Scalars {
  const values = new Map<number, number>()
  const peaks = new Map<number, number>()
  for (const part of parts) {
    for (const [i, id] of part.ids.entries()) {
      const before = values.get(id)
      values.set(id, before === undefined ? part.values[i]! : operation(before, part.values[i]!))
      peaks.set(id, Math.max(peaks.get(id) ?? -Infinity, part.peaks[i]!))
    }
  }
  return scalarsOf([...values], (id) => peaks.get(id)!)
}

/** @param peakOf highest value of a series; its value where that is left out */
export function scalarsOf(
  entries: (readonly [id: number, value: number])[],
  peakOf?: (id: number) => number
): Scalars {
  if (entries.length === 0) return NO_SCALARS
  const sorted = entries.toSorted((a, b) => a[0] - b[0])
  const values = Float64Array.from(sorted, (entry) => entry[1])
  return {
    ids: Uint32Array.from(sorted, (entry) => entry[0]),
    values,
    peaks: peakOf === undefined ? values : Float64Array.from(sorted, (entry) => peakOf(entry[0]))
  }
}

export function scalarOf(
  scalars: Scalars,
  id: number
): { readonly value: number; readonly peak: number } | undefined {
  const at = binarySearch(scalars.ids, id)
  return at < 0 ? undefined : { value: scalars.values[at]!, peak: scalars.peaks[at]! }
}

function binarySearch(ids: Uint32Array, id: number): number {
  let low = 0
  let high = ids.length - 1
  while (low <= high) {
    const middle = (low + high) >>> 1
    if (ids[middle] === id) return middle
    if (ids[middle]! < id) low = middle + 1
    else high = middle - 1
  }
  return -1
}
