import { parseOptions } from './arguments.ts'
import { Child, SERVER_CORE } from './child-process.ts'
import { machine, printTable, shownEstimate, verdict, writeJson } from './report.ts'
import { bootstrap, median } from './statistics.ts'
import type { Estimate } from './statistics.ts'
import { DEFAULT_QUALITY } from './pools-ways.ts'
import type { Whole } from './pools-ways.ts'

const ROUNDS = 30
const QUICK_ROUNDS = 8
/** The young generation of Node's own defaults: a larger one makes garbage cheaper. */
const YOUNG_GENERATION = ['--max-semi-space-size=16', '--min-semi-space-size=16']
/** A pool pays when it saves this much of what it is a part of, for certain. */
const WORTHWHILE = 0.05
/** What bare Fastify takes for a request without a socket, see `pnpm bench overhead`. */
const REQUEST_NS = 3900
/** A control that is off by more than this share, for certain, makes a run worthless. */
const CONTROL_TOLERANCE = 0.05

/** Nanoseconds an operation took, by round. */
export interface PoolSamples {
  readonly name: string
  readonly partOf: Whole
  readonly plain: number[]
  readonly pooled: number[]
  readonly control: number[]
}

interface PoolResult {
  readonly name: string
  readonly plain_ns: Estimate
  readonly pooled_ns: Estimate
  readonly saved_ns: Estimate
  /** The same thing twice: what it differs by is noise. */
  readonly control_ns: Estimate
  /** Share of the whole that it is part of. */
  readonly saved_ratio: Estimate
}

/** Whether pools of buffers and objects are worth it. @returns whether the run is usable */
export async function pools(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'rounds', 'quick'])
  const rounds = options.rounds ?? (options.quick ? QUICK_ROUNDS : ROUNDS)
  console.log(`${machine()}\n`)
  const child = Child.start('pools-child', [], SERVER_CORE, ['--expose-gc', ...YOUNG_GENERATION])
  child.send(String(rounds))
  const samples = await child.next<PoolSamples[]>()
  await child.stop()
  const results = samples.map((each) => summarise(each, samples))
  console.log(
    'Nanoseconds of processor time, garbage collection included (median, 95 % interval)\n'
  )
  print(results)
  console.log('')
  const areUsable = results.map(({ name, control_ns, plain_ns }) =>
    isSteady(control_ns, plain_ns)
      ? true
      : verdict(`${name}: the control differs by ${shownEstimate(control_ns, 0)} ns`, false)
  )
  for (const { name, saved_ratio } of results) {
    const word = saved_ratio.low >= WORTHWHILE ? 'pays' : 'does not pay'
    console.log(`${word.padEnd(12)} ${name}`)
  }
  writeJson(options.json, { node: process.version, rounds, worthwhile_ratio: WORTHWHILE, results })
  return areUsable.every(Boolean)
}

function print(results: readonly PoolResult[]): void {
  printTable(
    ['what', 'plain', 'pooled', 'saved', 'control', 'saved of the whole'],
    results.map((row) => [
      row.name,
      row.plain_ns.median.toFixed(0),
      row.pooled_ns.median.toFixed(0),
      shownEstimate(row.saved_ns, 0),
      shownEstimate(row.control_ns, 0),
      `${(row.saved_ratio.median * 100).toFixed(1)} % (${(row.saved_ratio.low * 100).toFixed(1)}–${(row.saved_ratio.high * 100).toFixed(1)})`
    ])
  )
}

function summarise(samples: PoolSamples, all: readonly PoolSamples[]): PoolResult {
  const { name, plain, pooled, control } = samples
  const of = (statistic: (chosen: readonly number[]) => number): Estimate =>
    bootstrap(plain.length, statistic)
  const difference = (a: readonly number[], b: readonly number[]): Estimate =>
    of((chosen) => median(chosen.map((i) => a[i]! - b[i]!)))
  const whole = wholeOf(samples, all)
  const saved = difference(plain, pooled)
  return {
    name,
    plain_ns: of((chosen) => median(chosen.map((i) => plain[i]!))),
    pooled_ns: of((chosen) => median(chosen.map((i) => pooled[i]!))),
    saved_ns: saved,
    control_ns: difference(plain, control),
    saved_ratio: {
      median: saved.median / whole,
      low: saved.low / whole,
      high: saved.high / whole
    }
  }
}

/** Nanoseconds of what the operation is a part of. */
function wholeOf({ name, partOf, plain }: PoolSamples, all: readonly PoolSamples[]): number {
  if (partOf === 'request') return REQUEST_NS
  if (partOf === 'itself') return median(plain)
  const size = name.split(' ', 1)[0]!
  const whole = `${size} KB of text by brotli ${DEFAULT_QUALITY}`
  return median(all.find((each) => each.name === whole)!.plain)
}

function isSteady(control: Estimate, plain: Estimate): boolean {
  const most = plain.median * CONTROL_TOLERANCE
  return control.low <= most && control.high >= -most
}
