import { parseOptions } from './arguments.ts'
import { Child, LOAD_CORE, SERVER_CORE } from './child-process.ts'
import { CLIENT_PATIENCE_MS, OVERLOAD_VARIANTS, WORKLOADS } from './overload-workloads.ts'
import type { LoadOrder, LoadResult, OverloadVariant, Workload } from './overload-workloads.ts'
import { machine, printTable, verdict, writeJson } from './report.ts'

/** Offered load, in multiples of what the server can do. */
const LOADS = [2, 5, 10] as const
const UNLOADED = 0.2
const UNLOADED_MS = 4000
const LEAST_GOODPUT = 0.9
const MOST_P99 = 3
/** Others had the processor for a greater share of the time: then the figures are not ours. */
const MOST_WAIT = 0.05

interface Timing {
  readonly warmUpMs: number
  readonly measureMs: number
}

const FULL: Timing = { warmUpMs: 5000, measureMs: 8000 }
const QUICK: Timing = { warmUpMs: 1300, measureMs: 1400 }

/** Share of the time in which the server, or its clients, had no processor; the greater. */
interface Disturbed {
  readonly disturbedRatio: number
}

/** What an unprotected server can do, and how quick it is when little is asked of it. */
interface Capacity extends Disturbed {
  readonly workload: Workload
  readonly perSecond: number
  readonly unloadedP99Ms: number
}

interface Outcome extends LoadResult, Disturbed {
  readonly workload: Workload
  readonly variant: OverloadVariant
  readonly load: number
}

/** All that was measured with one workload. */
interface Chapter {
  readonly capacity: Capacity
  readonly outcomes: readonly Outcome[]
}

/** Goodput and latency of the admitted at several times the capacity: ours, a peer's, nobody's. */
export async function overload(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'quick', 'variants'])
  const timing = options.quick ? QUICK : FULL
  const variants = chosen(options.variants)
  console.log(`${machine()}; clients give up after ${CLIENT_PATIENCE_MS} ms\n`)
  const chapters: Chapter[] = []
  for (const workload of WORKLOADS) {
    const capacity = await measureCapacity(workload, timing)
    const outcomes: Outcome[] = []
    for (const variant of variants) {
      // the quick run is about ours: the others are shown once
      const isAside = options.quick && variant !== 'ours'
      if (isAside && workload !== 'both') continue
      outcomes.push(...(await measure(variant, capacity, isAside ? [5] : LOADS, timing)))
    }
    chapters.push({ capacity, outcomes })
    show({ capacity, outcomes })
  }
  const kept = chapters.flatMap(judge)
  writeJson(options.json, { node: process.version, chapters })
  return kept.length > 0 && kept.every(Boolean)
}

function chosen(given: readonly string[] | undefined): readonly OverloadVariant[] {
  const unknown = given?.find((name) => !OVERLOAD_VARIANTS.includes(name as OverloadVariant))
  if (unknown !== undefined) {
    throw new Error(`--variants must be of ${OVERLOAD_VARIANTS.join(', ')}, got "${unknown}"`)
  }
  return (given as OverloadVariant[] | undefined) ?? OVERLOAD_VARIANTS
}

async function measureCapacity(workload: Workload, timing: Timing): Promise<Capacity> {
  return await withServer('nothing', workload, async (server) => {
    const most = await measured(server, 0, timing)
    const rate = UNLOADED * most.goodPerSecond
    const unloaded = await measured(server, rate, { ...timing, measureMs: UNLOADED_MS })
    return {
      workload,
      perSecond: most.goodPerSecond,
      unloadedP99Ms: unloaded.p99Ms,
      disturbedRatio: Math.max(most.disturbedRatio, unloaded.disturbedRatio)
    }
  })
}

async function measure(
  variant: OverloadVariant,
  { workload, perSecond }: Capacity,
  loads: readonly number[],
  timing: Timing
): Promise<Outcome[]> {
  return await withServer(variant, workload, async (server) => {
    await measured(server, perSecond / 2, { warmUpMs: 0, measureMs: timing.warmUpMs })
    const outcomes: Outcome[] = []
    for (const times of loads) {
      const result = await measured(server, times * perSecond, timing)
      outcomes.push({ workload, variant, load: times, ...result })
    }
    return outcomes
  })
}

async function measured(
  { port, waitMs }: Server,
  rate: number,
  timing: Timing
): Promise<LoadResult & Disturbed> {
  const before = { waitMs: await waitMs(), atMs: performance.now() }
  const result = await load({ port, rate, ...timing })
  const serverRatio = ((await waitMs()) - before.waitMs) / (performance.now() - before.atMs)
  return { ...result, disturbedRatio: Math.max(serverRatio, result.waitRatio) }
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

const HEADER = [
  'protection',
  'load',
  'goodput',
  'p50 ms',
  'p99 ms',
  'p99 / unloaded',
  '503 p99 ms',
  'given up',
  'disturbed'
]

function show(chapter: Chapter): void {
  const { workload, perSecond, unloadedP99Ms, disturbedRatio } = chapter.capacity
  const disturbed = `disturbed ${percent(disturbedRatio)}`
  console.log(
    `${NAMES[workload]}: capacity ${perSecond.toFixed(0)}/s, peak ${peakOf(chapter).toFixed(0)}/s, unloaded p99 ${unloadedP99Ms.toFixed(1)} ms, ${disturbed}\n`
  )
  printTable(
    HEADER,
    chapter.outcomes.map((outcome) => [
      outcome.variant,
      `${outcome.load}x`,
      percent(outcome.goodPerSecond / peakOf(chapter)),
      outcome.p50Ms.toFixed(1),
      outcome.p99Ms.toFixed(1),
      shownRatio(p99RatioOf(outcome, chapter)),
      outcome.refusedP99Ms.toFixed(1),
      percent(outcome.failed / Math.max(1, outcome.sent)),
      percent(outcome.disturbedRatio)
    ])
  )
  console.log('')
}

/** The most that was ever done per second, by whomever. */
function peakOf({ capacity, outcomes }: Chapter): number {
  return Math.max(capacity.perSecond, ...outcomes.map(({ goodPerSecond }) => goodPerSecond))
}

function p99RatioOf({ good, p99Ms }: Outcome, { capacity }: Chapter): number {
  return good === 0 ? Infinity : p99Ms / capacity.unloadedP99Ms
}

function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(1)} %`
}

function shownRatio(ratio: number): string {
  return Number.isFinite(ratio) ? `${ratio.toFixed(1)}x` : '-'
}

function judge(chapter: Chapter): boolean[] {
  return chapter.outcomes
    .filter(({ variant }) => variant === 'ours')
    .map((outcome) => judgeOne(outcome, chapter))
}

function judgeOne(outcome: Outcome, chapter: Chapter): boolean {
  const goodputRatio = outcome.goodPerSecond / peakOf(chapter)
  const p99Ratio = p99RatioOf(outcome, chapter)
  const isKept = goodputRatio >= LEAST_GOODPUT && p99Ratio <= MOST_P99
  // what is compared with must be right; what was reached in spite of others counts, and what was
  // missed may be their fault
  const isQuiet = chapter.capacity.disturbedRatio <= MOST_WAIT
  const isKnown = isQuiet && (isKept || outcome.disturbedRatio <= MOST_WAIT)
  const goodput = `goodput ${percent(goodputRatio)} of peak (${LEAST_GOODPUT * 100} or more)`
  const p99 = `p99 ${shownRatio(p99Ratio)} unloaded (${MOST_P99} or less)`
  const claim = `${NAMES[outcome.workload]} at ${outcome.load}x: ${goodput}, ${p99}`
  // figures that others have disturbed can't be used
  return verdict(claim, isKnown ? isKept : undefined) && isKnown
}
