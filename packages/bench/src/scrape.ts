import { parseOptions } from './arguments.ts'
import { Child, SERVER_CORE } from './child-process.ts'
import { machine, printTable, shownEstimate, verdict, writeJson } from './report.ts'
import { estimate, median } from './statistics.ts'
import type { Estimate } from './statistics.ts'

const ROUTES = 200
const MANY_ROUTES = 2500
export const STATUSES: readonly string[] = ['200', '404', '201', '500']
const ROUNDS = 15
const LEAST_SPEEDUP = 4
const LONGEST_TURN_MS = 5

/** What is scraped, and how. */
export type Way = 'vitals' | 'vitals and user metrics' | 'prom-client on our data' | 'prom-client'

export const WAYS: readonly Way[] = [
  'vitals',
  'vitals and user metrics',
  'prom-client on our data',
  'prom-client'
]

/** What one scrape took. */
export interface Once {
  readonly wallMs: number
  readonly cpuMs: number
  /** Longest stretch in which nobody else could run. */
  readonly turnMs: number
  /** The same less the pauses of garbage collection in it. */
  readonly turnWithoutGcMs: number
  readonly bytes: number
}

interface Row {
  readonly name: string
  readonly wall_ms: Estimate
  readonly cpu_ms: Estimate
  readonly longest_turn_ms: Estimate
  readonly longest_turn_without_gc_ms: Estimate
  readonly bytes: number
}

/** Time and longest turn of a scrape. @returns whether the budgets are kept */
export async function scrape(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'routes', 'rounds'])
  const rounds = options.rounds ?? ROUNDS
  const routes = options.routes ?? ROUTES
  console.log(machine())
  const few = await measure(routes, rounds, ['vitals', 'prom-client on our data', 'prom-client'])
  const many = await measure(MANY_ROUTES, rounds, ['vitals and user metrics', 'prom-client'])
  const [ours, , theirs] = few as [Row, Row, Row]
  const speedup = theirs.cpu_ms.median / ours.cpu_ms.median
  const atLeast = theirs.cpu_ms.low / ours.cpu_ms.high
  const turn = many[0]!.longest_turn_without_gc_ms
  const kept = [
    verdict(
      `at least ${LEAST_SPEEDUP} times cheaper than prom-client: ${speedup.toFixed(1)} times`,
      atLeast >= LEAST_SPEEDUP ? true : speedup >= LEAST_SPEEDUP ? undefined : false
    ),
    verdict(
      `no turn over ${LONGEST_TURN_MS} ms at ${MANY_ROUTES * STATUSES.length} series: ${shownEstimate(turn)} ms`,
      turn.high <= LONGEST_TURN_MS ? true : turn.median <= LONGEST_TURN_MS ? undefined : false
    )
  ]
  writeJson(options.json, {
    node: process.version,
    routes,
    rows: few,
    many_routes: MANY_ROUTES,
    many_rows: many
  })
  return kept.every(Boolean)
}

/** Every way in a process of its own, in turn, round by round. */
async function measure(routes: number, rounds: number, ways: readonly Way[]): Promise<Row[]> {
  const children = ways.map((way) =>
    Child.start('scrape-child', [way, String(routes)], SERVER_CORE)
  )
  try {
    for (const child of children) await child.next()
    const results = new Map<Way, Once[]>(ways.map((way) => [way, []]))
    for (let round = 0; round < rounds; round++) {
      for (const [i, way] of ways.entries()) {
        children[i]!.send('scrape')
        results.get(way)!.push(...(await children[i]!.next<Once[]>()))
      }
    }
    const rows = [...results].map(([way, all]) => summarise(way, all))
    print(routes, rows)
    return rows
  } finally {
    await Promise.all(children.map(async (child) => await child.stop()))
  }
}

function summarise(name: string, all: readonly Once[]): Row {
  return {
    name,
    wall_ms: estimate(all.map(({ wallMs }) => wallMs)),
    cpu_ms: estimate(all.map(({ cpuMs }) => cpuMs)),
    longest_turn_ms: estimate(all.map(({ turnMs }) => turnMs)),
    longest_turn_without_gc_ms: estimate(all.map(({ turnWithoutGcMs }) => turnWithoutGcMs)),
    bytes: median(all.map(({ bytes }) => bytes))
  }
}

function print(routes: number, rows: readonly Row[]): void {
  console.log(
    `\nA scrape of ${routes} routes x ${STATUSES.length} status codes (median, 95 % interval)\n`
  )
  printTable(
    ['what', 'CPU ms', 'wall ms', 'longest turn ms', 'less GC pauses', 'kB'],
    rows.map((row) => [
      row.name,
      shownEstimate(row.cpu_ms),
      shownEstimate(row.wall_ms),
      shownEstimate(row.longest_turn_ms),
      shownEstimate(row.longest_turn_without_gc_ms),
      (row.bytes / 1000).toFixed(0)
    ])
  )
  console.log('')
}
