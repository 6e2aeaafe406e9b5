import { LatencyHistogram } from '@fastify-vitals/metrics'
import { Histogram, Registry, Summary } from 'prom-client'
import { parseOptions } from './arguments.ts'
import { machine, printTable, shownEstimate, verdict, writeJson } from './report.ts'
import { DISTRIBUTIONS, draw } from './samples.ts'
import { estimate } from './statistics.ts'
import type { Estimate } from './statistics.ts'

const SAMPLES = 1_000_000
const QUANTILES = [0.5, 0.9, 0.95, 0.99, 0.999]
const ROUNDS = 9
const RECORDS = 400_000
const SERIES = 800
const MOST_ERROR = 0.01

interface ErrorRow {
  readonly distribution: string
  readonly implementation: string
  /** Relative errors, by quantile. */
  readonly errors: readonly number[]
}

/** Error of quantiles and cost of recording. @returns whether every quantile is within 1 % */
export async function histogram(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'rounds'])
  console.log(`${machine()}\n`)
  const errors = await quantileErrors()
  console.log(`Relative error of quantiles, ${SAMPLES} samples each\n`)
  printTable(
    ['samples', 'implementation', ...QUANTILES.map((q) => `p${q * 100}`)],
    errors.map((row) => [
      row.distribution,
      row.implementation,
      ...row.errors.map((error) => `${(error * 100).toFixed(2)} %`)
    ])
  )
  const costs = recordCosts(options.rounds ?? ROUNDS)
  console.log('\nNanoseconds per record (median, 95 % interval)\n')
  printTable(
    ['what', 'ns'],
    Object.entries(costs).map(([name, cost]) => [name, shownEstimate(cost, 1)])
  )
  const worst = Math.max(
    ...errors.filter(({ implementation }) => implementation === OURS).flatMap((row) => row.errors)
  )
  console.log('')
  const isKept = verdict(
    `every quantile within 1 %: worst ${(worst * 100).toFixed(2)} %`,
    worst <= MOST_ERROR
  )
  writeJson(options.json, {
    node: process.version,
    samples: SAMPLES,
    quantiles: QUANTILES,
    errors,
    ns_per_record: costs
  })
  return isKept
}

const OURS = 'vitals'

async function quantileErrors(): Promise<ErrorRow[]> {
  const rows: ErrorRow[] = []
  for (const [distribution, shape] of Object.entries(DISTRIBUTIONS)) {
    const samples = draw(shape, SAMPLES, 42)
    const sorted = samples.toSorted()
    const exact = QUANTILES.map((q) => sorted[Math.ceil(q * SAMPLES) - 1]!)
    const answers = { [OURS]: ours(samples), ...(await theirs(samples)) }
    for (const [implementation, estimates] of Object.entries(answers)) {
      const errors = estimates.map((value, i) => Math.abs(value - exact[i]!) / exact[i]!)
      rows.push({ distribution, implementation, errors })
    }
  }
  return rows
}

function ours(samples: Float64Array): number[] {
  const recorded = new LatencyHistogram()
  for (const sample of samples) recorded.record(sample)
  return QUANTILES.map((q) => recorded.quantile(q)!)
}

async function theirs(samples: Float64Array): Promise<Record<string, number[]>> {
  const registers = [new Registry()]
  const buckets = new Histogram({ name: 'h', help: 'h', registers })
  const summary = new Summary({ name: 's', help: 's', percentiles: QUANTILES, registers })
  for (const sample of samples) {
    buckets.observe(sample)
    summary.observe(sample)
  }
  const counts = (await buckets.get()).values.filter(({ labels }) => labels.le !== undefined)
  const quantiles = (await summary.get()).values.filter(
    ({ labels }) => labels.quantile !== undefined
  )
  return {
    'prom-client buckets': QUANTILES.map((q) =>
      interpolated(
        counts.map(({ labels, value }) => [
          Number(String(labels.le).replace('+Inf', 'Infinity')),
          value
        ]),
        q
      )
    ),
    'prom-client summary': quantiles.map(({ value }) => value)
  }
}

/** What PromQL's `histogram_quantile` answers. */
function interpolated(
  buckets: readonly (readonly [le: number, cumulative: number])[],
  q: number
): number {
  const rank = q * buckets.at(-1)![1]
  const at = buckets.findIndex(([, cumulative]) => cumulative >= rank)
  const [le, cumulative] = buckets[at]!
  const [low, below] = buckets[at - 1] ?? [0, 0]
  return le === Infinity ? low : low + ((le - low) * (rank - below)) / (cumulative - below)
}

/** Every way of recording in turn, round by round. */
function recordCosts(rounds: number): Record<string, Estimate> {
  const samples = draw(DISTRIBUTIONS['log-normal']!, 4096, 7)
  const order = Uint16Array.from(draw((random) => random() * SERIES, 4096, 9))
  const one = new LatencyHistogram()
  const many = Array.from({ length: SERIES }, () => new LatencyHistogram())
  const prom = new Histogram({
    name: 'h',
    help: 'h',
    labelNames: ['method', 'route', 'status_code'],
    registers: []
  })
  const child = prom.labels({ method: 'GET', route: '/a', status_code: '200' })
  const ways: Record<string, (i: number) => void> = {
    'loop alone (control)': (i) => void samples[i & 4095],
    'vitals, one series': (i) => one.record(samples[i & 4095]!),
    [`vitals, ${SERIES} series at random`]: (i) =>
      many[order[i & 4095]!]!.record(samples[i & 4095]!),
    'prom-client, child kept': (i) => child.observe(samples[i & 4095]!),
    'prom-client, labels given': (i) =>
      prom.observe({ method: 'GET', route: '/a', status_code: '200' }, samples[i & 4095]!)
  }
  const costs = new Map(Object.keys(ways).map((name) => [name, [] as number[]]))
  for (let round = -2; round < rounds; round++) {
    for (const [name, record] of Object.entries(ways)) {
      const startMs = performance.now()
      for (let i = 0; i < RECORDS; i++) record(i)
      if (round >= 0) costs.get(name)!.push(((performance.now() - startMs) * 1e6) / RECORDS)
    }
  }
  return Object.fromEntries([...costs].map(([name, ns]) => [name, estimate(ns)]))
}
