import { parseOptions } from './arguments.ts'
import { Child, SERVER_CORE } from './child-process.ts'
import { machine, printTable, verdict, writeJson } from './report.ts'

const TYPICAL_BYTES = 2500
const MOST_BYTES = 8500
/** A flood may leave this much behind: noise of the heap, not something that grows. */
const FLOOD_TOLERANCE_BYTES = 1_500_000

/** What a memory process measured. */
export interface MemoryFigures {
  readonly typical_bytes_per_series: number
  readonly most_bytes_per_series: number
  readonly flood: {
    readonly requests: number
    readonly series_before: number
    readonly series_after: number
    readonly grown_bytes: number
  }
  readonly day: {
    readonly endpoints: number
    readonly hours: number
    readonly bound_bytes: number
    readonly history_bytes: number
    readonly covered_hours: number
  }
}

/** Bytes that series, a flood of made-up requests, and a day of history cost. */
export async function memory(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json'])
  console.log(`${machine()}\n`)
  const child = Child.start('memory-child', [], SERVER_CORE, ['--expose-gc'])
  const figures = await child.next<MemoryFigures>()
  await child.stop()
  const { flood, day } = figures
  printTable(
    ['what', 'figure'],
    [
      [
        'a series, 1 000 log-normal durations',
        `${figures.typical_bytes_per_series.toFixed(0)} bytes`
      ],
      ['a series, durations in every octave', `${figures.most_bytes_per_series.toFixed(0)} bytes`],
      [
        `series before and after ${flood.requests} random requests`,
        `${flood.series_before}, ${flood.series_after}`
      ],
      ['memory grown by them', `${(flood.grown_bytes / 1000).toFixed(0)} kB`],
      [
        `history of ${day.endpoints} busy endpoints over ${day.hours} h`,
        `${(day.history_bytes / 1e6).toFixed(1)} MB, reaches back ${day.covered_hours.toFixed(1)} h`
      ]
    ]
  )
  console.log('')
  const isFlat =
    flood.series_after <= flood.series_before && flood.grown_bytes < FLOOD_TOLERANCE_BYTES
  const kept = [
    verdict(
      `a series takes ${TYPICAL_BYTES} bytes`,
      figures.typical_bytes_per_series <= TYPICAL_BYTES
    ),
    verdict(
      `a series takes ${MOST_BYTES} bytes at most`,
      figures.most_bytes_per_series <= MOST_BYTES
    ),
    verdict('a flood of random paths, methods and headers leaves nothing behind', isFlat),
    verdict(
      `a day of history stays under ${(day.bound_bytes / 1e6).toFixed(1)} MB`,
      day.history_bytes <= day.bound_bytes
    )
  ]
  writeJson(options.json, { node: process.version, ...figures })
  return kept.every(Boolean)
}
