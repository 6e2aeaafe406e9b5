import { parseOptions } from './arguments.ts'
import { Child, LOAD_CORE, SERVER_CORE } from './child-process.ts'
import { CLIENT_PATIENCE_MS, OVERLOAD_VARIANTS, WORKLOADS } from './overload-workloads.ts'
import type { LoadOrder, LoadResult, OverloadVariant, Workload } from './overload-workloads.ts'
import { machine, printTable, verdict, writeJson } from './report.ts'

/** Offered load, in multiples of what the server can do. */
const LOADS = [2, 5, 10] as const
const UNLOADED = 0.2
const LEAST_GOODPUT = 0.9
const MOST_P99 = 3
/** Others had the processor for a greater share of the time: then the figures are not ours. */
const MOST_WAIT = 0.05

interface Timing {
  readonly warmUpMs: number
  readonly measureMs: number
}

const FULL: Timing = { warmUpMs: 2000, measureMs: 5000 }
const QUICK: Timing = { warmUpMs: 700, measureMs: 1500 }

/** What an unprotected server can do, and how quick it is when little is asked of it. */
interface Capacity {
  readonly workload: Workload
  readonly perSecond: number
  readonly unloadedP99Ms: number
}

interface Outcome extends LoadResult {
  readonly workload: Workload
  readonly variant: OverloadVariant
  readonly load: number
  readonly goodputRatio: number
  readonly p99Ratio: number
  /** Share of the time in which the server, or the clients, had no processor; the greater. */
  readonly disturbedRatio: number
}

/** Goodput and latency of the admitted at several times the capacity: ours, a peer's, nobody's. */
export async function overload(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'quick', 'variants'])
  const timing = options.quick ? QUICK : FULL
  const variants = chosen(options.variants)
  console.log(`${machine()}; clients give up after ${CLIENT_PATIENCE_MS} ms\n`)
  const outcomes: Outcome[] = []
  for (const workload of WORKLOADS) {
    const capacity = await measureCapacity(workload, timing)
    for (const variant of variants) {
      // the quick run is about ours: the others are shown once
      if (options.quick && variant !== 'ours' && workload !== 'both') continue
      outcomes.push(...(await measure(variant, capacity, timing)))
    }
    show(capacity, outcomes)
  }
  const isKept = judge(outcomes)
  writeJson(options.json, { node: process.version, outcomes })
  return isKept
}

function chosen(given: readonly string[] | undefined): readonly OverloadVariant[] {
  const unknown = given?.find((name) => !OVERLOAD_VARIANTS.includes(name as OverloadVariant))
  if (unknown !== undefined) {
    throw new Error(`--variants must be of ${OVERLOAD_VARIANTS.join(', ')}, got "${unknown}"`)
  }
  return (given as OverloadVariant[] | undefined) ?? OVERLOAD_VARIANTS
}

async function measureCapacity(workload: Workload, timing: Timing): Promise<Capacity> {
  return await withServer('nothing', workload, async ({ port }) => {
    const most = await load({ port, rate: 0, ...timing })
    const perSecond = most.goodPerSecond
    const { p99Ms } = await load({ port, rate: UNLOADED * perSecond, ...timing, measureMs: 4000 })
    return { workload, perSecond, unloadedP99Ms: p99Ms }
  })
}

async function measure(
  variant: OverloadVariant,
  { workload, perSecond, unloadedP99Ms }: Capacity,
  timing: Timing
): Promise<Outcome[]> {
  return await withServer(variant, workload, async ({ port, waitMs }) => {
    await load({ port, rate: perSecond / 2, warmUpMs: 0, measureMs: timing.warmUpMs })
    const outcomes: Outcome[] = []
    for (const times of LOADS) {
      const before = { waitMs: await waitMs(), atMs: performance.now() }
      const result = await load({ port, rate: times * perSecond, ...timing })
      const waited = (await waitMs()) - before.waitMs
      const serverRatio = waited / (performance.now() - before.atMs)
      const disturbedRatio = Math.max(serverRatio, result.waitRatio)
      const goodputRatio = result.goodPerSecond / perSecond
      const p99Ratio = result.good === 0 ? Infinity : result.p99Ms / unloadedP99Ms
      const ratios = { goodputRatio, p99Ratio, disturbedRatio }
      outcomes.push({ workload, variant, load: times, ...ratios, ...result })
    }
    return outcomes
  })
}

interface Server {
  readonly port: number
  /** How long it has had no processor so far. */
  readonly waitMs: () => Promise<number>
}

async function withServer<Result>(
  variant: OverloadVariant,
  workload: Workload,
  use: (server: Server) => Promise<Result>
): Promise<Result> {
  const server = Child.start('overload-child', [variant, workload], SERVER_CORE)
  try {
    const { port } = await server.next<{ port: number }>()
    const waitMs = async (): Promise<number> => {
      server.send('wait')
      return (await server.next<{ waitMs: number }>()).waitMs
    }
    return await use({ port, waitMs })
  } finally {
    await server.stop()
  }
}

async function load(order: LoadOrder): Promise<LoadResult> {
  const child = Child.start('overload-load-child', [JSON.stringify(order)], LOAD_CORE)
  try {
    return await child.next<LoadResult>()
  } finally {
    await child.stop()
  }
}

const NAMES: Readonly<Record<Workload, string>> = {
  cpu: 'processor only',
  pool: 'pool of connections only',
  both: 'pool, then processor'
}

function show(
  { workload, perSecond, unloadedP99Ms }: Capacity,
  outcomes: readonly Outcome[]
): void {
  console.log(
    `${NAMES[workload]}: capacity ${perSecond.toFixed(0)}/s, unloaded p99 ${unloadedP99Ms.toFixed(1)} ms\n`
  )
  printTable(
    [
      'protection',
      'load',
      'goodput',
      'p50 ms',
      'p99 ms',
      'p99 / unloaded',
      '503 p99 ms',
      'given up',
      'disturbed'
    ],
    outcomes
      .filter((outcome) => outcome.workload === workload)
      .map((each) => [
        each.variant,
        `${each.load}x`,
        `${(each.goodputRatio * 100).toFixed(1)} %`,
        each.p50Ms.toFixed(1),
        each.p99Ms.toFixed(1),
        `${each.p99Ratio.toFixed(1)}x`,
        each.refusedP99Ms.toFixed(1),
        `${((100 * each.failed) / Math.max(1, each.sent)).toFixed(1)} %`,
        `${(100 * each.disturbedRatio).toFixed(1)} %`
      ])
  )
  console.log('')
}

function judge(outcomes: readonly Outcome[]): boolean {
  const kept = outcomes.filter(({ variant }) => variant === 'ours').map(judgeOne)
  return kept.length > 0 && kept.every(Boolean)
}

function judgeOne(outcome: Outcome): boolean {
  const { workload, load: times, goodputRatio, p99Ratio, disturbedRatio } = outcome
  const isKept = goodputRatio >= LEAST_GOODPUT && p99Ratio <= MOST_P99
  // what was reached in spite of others counts; what was missed may be their fault
  const isKnown = isKept || disturbedRatio <= MOST_WAIT
  const goodput = `goodput ${(goodputRatio * 100).toFixed(1)} % of peak (${LEAST_GOODPUT * 100} or more)`
  const p99 = `p99 ${p99Ratio.toFixed(1)}x unloaded (${MOST_P99} or less)`
  return verdict(
    `${NAMES[workload]} at ${times}x: ${goodput}, ${p99}`,
    isKnown ? isKept : undefined
  )
}
