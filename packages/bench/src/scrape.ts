import { PerformanceObserver } from 'node:perf_hooks'
import metrics from '@fastify-vitals/metrics'
import type { Vitals } from '@fastify-vitals/metrics'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { Counter, Histogram, Registry } from 'prom-client'
import { parseOptions } from './arguments.ts'
import { machine, printTable, shownEstimate, verdict, writeJson } from './report.ts'
import { DISTRIBUTIONS, draw } from './samples.ts'
import { estimate, median } from './statistics.ts'
import type { Estimate } from './statistics.ts'

const ROUTES = 200
const MANY_ROUTES = 2500
const STATUSES = ['200', '404', '201', '500']
const OBSERVATIONS = 200
const ROUNDS = 25
const WARM_UPS = 15
const LEAST_SPEEDUP = 4
const LONGEST_TURN_MS = 5

interface Once {
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

type Scrape = () => Promise<number>

/** Time and longest turn of a scrape. @returns whether the budgets are kept */
export async function scrape(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'routes', 'rounds'])
  const rounds = options.rounds ?? ROUNDS
  const routes = options.routes ?? ROUTES
  console.log(machine())
  const few = await measure(routes, rounds, true)
  const many = await measure(MANY_ROUTES, rounds, false)
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

/**
 * @param isPaired in turn, round by round, for fair ratios; otherwise one way after the other, so
 *   that one's garbage does not make another's turns longer
 */
async function measure(routes: number, rounds: number, isPaired: boolean): Promise<Row[]> {
  const registry = new Registry()
  const app = await filledApp(routes, registry)
  if (!isPaired) addUserMetrics(registry)
  const prom = filledPromClient(routes)
  const ways: Record<string, Scrape> = {
    [isPaired ? 'vitals.scrape()' : 'vitals.scrape(), user metrics included']: async () =>
      await scrapeOnce(app.vitals),
    'registry.metrics() of prom-client, our data': async () => (await registry.metrics()).length,
    'prom-client histograms of the same data': async () => (await prom.metrics()).length
  }
  const results = new Map<string, Once[]>(Object.keys(ways).map((name) => [name, []]))
  const groups = isPaired ? [Object.entries(ways)] : Object.entries(ways).map((way) => [way])
  for (const group of groups) {
    for (let round = -WARM_UPS; round < rounds; round++) {
      for (const [name, way] of group) {
        await way() // the first after another way pays for cold caches, as no server does
        const once = await watch(way)
        if (round >= 0) results.get(name)!.push(once)
      }
    }
  }
  await app.close()
  const rows = [...results].map(([name, all]) => summarise(name, all))
  print(routes, rows)
  return rows
}

/** An app with the figures of so many routes. */
async function filledApp(routes: number, registry: Registry): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(metrics, { registry: registry as never, maxSeries: 20_000 })
  const family = app.vitals.histogram({
    name: 'http_request_duration_seconds',
    help: 'Duration of HTTP requests in seconds',
    labelNames: ['method', 'route', 'status_code']
  })
  fill(routes, (labels) => {
    const series = family.with(labels)
    return (seconds) => series.record(seconds)
  })
  return app
}

/** Metrics of the user's own, which a scrape has to show too. */
function addUserMetrics(registry: Registry): void {
  const counter = new Counter({
    name: 'shop_sales_total',
    help: 's',
    labelNames: ['shop'],
    registers: [registry]
  })
  const own = new Histogram({
    name: 'shop_basket_seconds',
    help: 'b',
    labelNames: ['shop'],
    registers: [registry]
  })
  for (let shop = 0; shop < 50; shop++) {
    counter.inc({ shop: `s${shop}` })
    own.observe({ shop: `s${shop}` }, 0.1)
  }
}

function filledPromClient(routes: number): Registry {
  const registry = new Registry()
  const prom = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Duration of HTTP requests in seconds',
    labelNames: ['method', 'route', 'status_code'],
    registers: [registry]
  })
  fill(routes, (labels) => {
    const series = prom.labels(labels)
    return (seconds) => series.observe(seconds)
  })
  return registry
}

function fill(
  routes: number,
  seriesOf: (labels: Record<string, string>) => (seconds: number) => void
): void {
  const samples = draw(DISTRIBUTIONS['log-normal']!, OBSERVATIONS, 3)
  for (let route = 0; route < routes; route++) {
    for (const status_code of STATUSES) {
      const record = seriesOf({
        method: 'GET',
        route: `/api/v1/resource${route}/:id/items`,
        status_code
      })
      for (const sample of samples) record(sample)
    }
  }
}

async function scrapeOnce(vitals: Vitals): Promise<number> {
  let bytes = 0
  for await (const chunk of vitals.scrape().body) bytes += (chunk as Buffer).length
  return bytes
}

/** Runs a scrape beside a ticking clock: the longest gap between two ticks is its longest turn. */
async function watch(way: Scrape): Promise<Once> {
  const gc = new GcPauses()
  const gaps: { readonly fromMs: number; readonly toMs: number }[] = []
  let isRunning = true
  let lastMs = performance.now()
  const tick = (): void => {
    const nowMs = performance.now()
    gaps.push({ fromMs: lastMs, toMs: nowMs })
    lastMs = nowMs
    if (isRunning) setImmediate(tick)
  }
  setImmediate(tick)
  await new Promise((resolve) => setImmediate(resolve))
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  const bytes = await way()
  const wallMs = performance.now() - startMs
  const { user, system } = process.cpuUsage(cpu)
  await new Promise((resolve) => setImmediate(resolve))
  isRunning = false
  await new Promise((resolve) => setImmediate(resolve))
  const pauses = gc.stop()
  const lengths = gaps.map(({ fromMs, toMs }) => toMs - fromMs)
  const withoutGc = gaps.map(({ fromMs, toMs }) => toMs - fromMs - pauses(fromMs, toMs))
  return {
    wallMs,
    cpuMs: (user + system) / 1000,
    turnMs: Math.max(...lengths),
    turnWithoutGcMs: Math.max(...withoutGc),
    bytes
  }
}

/** Pauses of garbage collection, so that they are told apart instead of hidden. */
class GcPauses {
  readonly #pauses: { readonly startMs: number; readonly ms: number }[] = []
  readonly #observer = new PerformanceObserver((list) => this.#add(list.getEntries()))

  constructor() {
    this.#observer.observe({ entryTypes: ['gc'] })
  }

  /** @returns tells the milliseconds of pauses that began in a stretch */
  stop(): (fromMs: number, toMs: number) => number {
    this.#add(this.#observer.takeRecords())
    this.#observer.disconnect()
    return (fromMs, toMs) =>
      this.#pauses
        .filter(({ startMs }) => startMs >= fromMs && startMs < toMs)
        .reduce((sum, { ms }) => sum + ms, 0)
  }

  #add(entries: readonly { readonly startTime: number; readonly duration: number }[]): void {
    for (const { startTime, duration } of entries)
      this.#pauses.push({ startMs: startTime, ms: duration })
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
