// Fills one kind of registry and scrapes it whenever it is told to, in a process of its own: in one
// process the garbage of each would be paid by the others.
import { PerformanceObserver } from 'node:perf_hooks'
import metrics from '@fastify-vitals/metrics'
import Fastify from 'fastify'
import { Counter, Histogram, Registry } from 'prom-client'
import { DISTRIBUTIONS, draw } from './samples.ts'
import { STATUSES, WAYS } from './scrape.ts'
import type { Once, Way } from './scrape.ts'

const OBSERVATIONS = 200
const WARM_UPS = 40
const SCRAPES_PER_ROUND = 5

type Scrape = () => Promise<number>

async function prepare(way: Way, routes: number): Promise<Scrape> {
  if (way === 'prom-client') {
    const registry = filledPromClient(routes)
    return async () => (await registry.metrics()).length
  }
  const registry = new Registry()
  if (way === 'vitals and user metrics') addUserMetrics(registry)
  const app = Fastify()
  await app.register(metrics, { registry: registry, maxSeries: 20_000 })
  const family = app.vitals.histogram({
    name: 'http_request_duration_seconds',
    help: 'Duration of HTTP requests in seconds',
    labelNames: ['method', 'route', 'status_code']
  })
  fill(routes, (labels) => {
    const series = family.with(labels)
    return (seconds) => series.record(seconds)
  })
  if (way === 'prom-client on our data') return async () => (await registry.metrics()).length
  return async () => {
    let bytes = 0
    for await (const chunk of app.vitals.scrape().body) bytes += (chunk as Buffer).length
    return bytes
  }
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

const way = WAYS.find((each) => each === process.argv[2])
if (way === undefined) throw new Error(`the way must be one of ${WAYS.join(', ')}`)
const scrapeOnce = await prepare(way, Number(process.argv[3]))
for (let i = 0; i < WARM_UPS; i++) await watch(scrapeOnce)
process.on('message', () => {
  void (async () => {
    const all: Once[] = []
    for (let i = 0; i < SCRAPES_PER_ROUND; i++) all.push(await watch(scrapeOnce))
    process.send?.(all)
  })()
})
process.send?.('ready')
