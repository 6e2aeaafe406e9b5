import { parseOptions } from './arguments.ts'
import type { Mode } from './arguments.ts'
import { BUDGETS, claimOf, isMeasured, keeps, valueOf } from './budgets.ts'
import { CAN_PIN, Child, LOAD_CORE, SERVER_CORE, pin } from './child-process.ts'
import { load } from './load-client.ts'
import { machine, printTable, shownEstimate, verdict, writeJson } from './report.ts'
import { estimate, median } from './statistics.ts'
import type { Estimate } from './statistics.ts'
import { BARE, CONTROL, FASTIFY_METRICS, PATH, TIMING, VARIANTS, variantNamed } from './variants.ts'

const ROUNDS = 12
const QUICK_ROUNDS = 4
const QUICK_VARIANTS = [BARE, CONTROL, TIMING, FASTIFY_METRICS]
const WARM_UP_REQUESTS = 10_000
const MEASURED_REQUESTS = 20_000
/** A control that is off by more than this share of bare, for certain, makes a run worthless. */
const CONTROL_TOLERANCE = 0.03

interface Sample {
  readonly cpuUs: number
  readonly requestsPerSecond: number | undefined
}

/** For each variant, what each round measured. */
type Samples = ReadonlyMap<string, Sample[]>

interface VariantResult {
  readonly name: string
  readonly cpu_us_per_request: Estimate
  readonly ratio_to_bare: Estimate
  readonly added_us: Estimate
  readonly throughput_rps?: Estimate
}

/** Processor time per request of Fastify with each plugin. @returns whether the run is usable */
export async function overhead(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'rounds', 'mode', 'variants', 'quick', 'check'])
  const names = chosenVariants(options.variants, options.quick)
  const rounds = options.rounds ?? (options.quick ? QUICK_ROUNDS : ROUNDS)
  const mode = options.mode ?? 'both'
  console.log(machine())
  if (!CAN_PIN) console.log('processes are not kept on cores of their own here: expect more noise')
  const results = new Map<Exclude<Mode, 'both'>, VariantResult[]>()
  let isUsable = true
  for (const way of ['dispatch', 'sockets'] as const) {
    if (mode !== 'both' && mode !== way) continue
    const samples = await measure(way, names, rounds)
    results.set(way, summarise(samples))
    print(way, results.get(way)!)
    isUsable = judge(way, samples, options.check) && isUsable
  }
  const main = results.get('sockets') ?? results.get('dispatch')
  writeJson(options.json, {
    node: process.version,
    mode: results.has('sockets') ? 'sockets' : 'dispatch',
    rounds,
    variants: main,
    dispatch: results.get('dispatch')
  })
  return isUsable
}

function chosenVariants(given: readonly string[] | undefined, isQuick: boolean): string[] {
  const all = VARIANTS.map((variant) => variant.name)
  const chosen = given ?? (isQuick ? QUICK_VARIANTS : all)
  return [...new Set([BARE, CONTROL, ...chosen.map((name) => variantNamed(name).name)])]
}

/** Every variant once a round, in a fresh process each time, back and forth. */
async function measure(
  way: 'sockets' | 'dispatch',
  names: readonly string[],
  rounds: number
): Promise<Samples> {
  const samples = new Map<string, Sample[]>(names.map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`${way}: round ${round + 1} of ${rounds}\n`)
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      samples.get(name)!.push(await (way === 'sockets' ? overSockets(name) : dispatched(name)))
    }
  }
  return samples
}

async function dispatched(name: string): Promise<Sample> {
  const child = Child.start('dispatch-child', [name], SERVER_CORE)
  try {
    const { cpuUs } = await child.next<{ cpuUs: number }>()
    return { cpuUs, requestsPerSecond: undefined }
  } finally {
    await child.stop()
  }
}

async function overSockets(name: string): Promise<Sample> {
  pin(process.pid, LOAD_CORE)
  const child = Child.start('server-child', [name], SERVER_CORE)
  try {
    const { port } = await child.next<{ port: number }>()
    await load(port, PATH, WARM_UP_REQUESTS)
    child.send('start')
    const requestsPerSecond = await load(port, PATH, MEASURED_REQUESTS)
    child.send('stop')
    const { cpuUs } = await child.next<{ cpuUs: number }>()
    return { cpuUs: cpuUs / MEASURED_REQUESTS, requestsPerSecond }
  } finally {
    await child.stop()
  }
}

function summarise(samples: Samples): VariantResult[] {
  const bare = samples.get(BARE)!
  return [...samples].map(([name, own]) => ({
    name,
    cpu_us_per_request: estimate(own.map((sample) => sample.cpuUs)),
    ratio_to_bare: estimate(own.map((sample, i) => sample.cpuUs / bare[i]!.cpuUs)),
    added_us: estimate(own.map((sample, i) => sample.cpuUs - bare[i]!.cpuUs)),
    ...(own[0]?.requestsPerSecond === undefined
      ? {}
      : { throughput_rps: estimate(own.map((sample) => sample.requestsPerSecond!)) })
  }))
}

function print(way: string, results: readonly VariantResult[]): void {
  console.log(`\nProcessor time per request, ${way} (median, 95 % interval)\n`)
  printTable(
    ['variant', 'µs', 'added µs', 'ratio to bare', 'requests/s'],
    results.map((result) => [
      result.name,
      shownEstimate(result.cpu_us_per_request),
      shownEstimate(result.added_us),
      shownEstimate(result.ratio_to_bare, 3),
      result.throughput_rps === undefined ? '' : result.throughput_rps.median.toFixed(0)
    ])
  )
  console.log('')
}

/** @returns whether the control row allows any conclusion, and with --check whether budgets are kept */
function judge(way: string, samples: Samples, isChecked: boolean): boolean {
  const control = added(samples, CONTROL)
  const bareUs = median(samples.get(BARE)!.map((sample) => sample.cpuUs))
  const tolerance = CONTROL_TOLERANCE * bareUs
  const isUsable = control.low <= tolerance && control.high >= -tolerance
  verdict(`control adds nothing: ${shownEstimate(control)} µs of ${bareUs.toFixed(2)}`, isUsable)
  if (!isUsable) {
    console.log('This run is unusable: the same app measured twice differs. Quiet the machine.')
    return false
  }
  const kept = judgeBudgets(way, samples)
  return kept || !isChecked
}

/** Prints a line for each budget that this run can judge. @returns false when one is missed */
function judgeBudgets(way: string, samples: Samples): boolean {
  const rounds = samples.get(BARE)!.length
  const addedOver = (name: string, chosen: readonly number[]): number =>
    median(chosen.map((round) => addedIn(samples, name, round)))
  const variants = new Set(samples.keys())
  const judged = BUDGETS.filter(
    (budget) => isMeasured(budget, variants) && (way === 'dispatch' || budget.maxUs === undefined)
  )
  return judged
    .map((budget) => {
      const value = valueOf(budget, rounds, addedOver)
      return verdict(claimOf(budget, value), keeps(value, budget.maxUs ?? budget.maxShare!))
    })
    .every(Boolean)
}

function added(samples: Samples, name: string): Estimate {
  return estimate(samples.get(name)!.map((_, i) => addedIn(samples, name, i)))
}

function addedIn(samples: Samples, name: string, round: number): number {
  return samples.get(name)![round]!.cpuUs - samples.get(BARE)![round]!.cpuUs
}
