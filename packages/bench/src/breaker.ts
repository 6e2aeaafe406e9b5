import { parseOptions } from './arguments.ts'
import { keeps } from './budgets.ts'
import { Child, SERVER_CORE } from './child-process.ts'
import { machine, printTable, shownEstimate, verdict, writeJson } from './report.ts'
import { bootstrap, estimate, median } from './statistics.ts'
import type { Estimate } from './statistics.ts'

const ROUNDS = 15
const QUICK_ROUNDS = 4
const IDLE_ROUNDS = 5
const QUICK_IDLE_ROUNDS = 2
const IDLE_MS = 10_000
const QUICK_IDLE_MS = 5000
/** At most what opossum costs, and a tenth. */
const MOST_RATIO = 1.1
/** The same breaker measured twice must come out the same, or a run is worthless. */
const CONTROL_TOLERANCE = 0.05
/** Of one core: what can't be told from nothing on a machine that does other things, too. */
const MOST_IDLE_PERCENT = 0.1

/** What a call goes through. */
export type Way =
  | 'plain await'
  | 'minimal breaker'
  | 'opossum, defaults'
  | 'opossum, defaults (control)'
  | 'opossum, lean'
  | 'vitals, time-out'
  | 'vitals, no time-out'

export const WAYS: readonly Way[] = [
  'plain await',
  'minimal breaker',
  'opossum, defaults',
  'opossum, defaults (control)',
  'opossum, lean',
  'vitals, time-out',
  'vitals, no time-out'
]

/** Whose breakers are idle. */
export type IdleWay = 'none' | 'vitals' | 'opossum'

export const IDLE_WAYS: readonly IdleWay[] = ['none', 'vitals', 'opossum']

/** For each way, what each round measured. */
type Samples<Name extends string> = ReadonlyMap<Name, number[]>

/** Cost of a call through a breaker, and of a hundred idle ones. @returns whether budgets are kept */
export async function breaker(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'rounds', 'quick'])
  const rounds = options.rounds ?? (options.quick ? QUICK_ROUNDS : ROUNDS)
  const idleMs = options.quick ? QUICK_IDLE_MS : IDLE_MS
  console.log(`${machine()}\n`)
  const calls = await measureCalls(rounds)
  printCalls(calls)
  const isUsable = judgeControl(calls)
  const idle = await measureIdle(options.quick ? QUICK_IDLE_ROUNDS : IDLE_ROUNDS, idleMs)
  printIdle(idle, idleMs)
  const kept = isUsable ? [...judgeCalls(calls), judgeIdle(idle, idleMs)] : [false]
  writeJson(options.json, {
    node: process.version,
    rounds,
    ns_per_call: summarised(calls),
    idle_seconds: idleMs / 1000,
    idle_cpu_ms: summarised(idle)
  })
  return kept.every(Boolean)
}

/** Every way once a round, in a fresh process each time, back and forth. */
async function measureCalls(rounds: number): Promise<Samples<Way>> {
  const samples = new Map<Way, number[]>(WAYS.map((way) => [way, []]))
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`calls: round ${round + 1} of ${rounds}\n`)
    for (const way of round % 2 === 0 ? WAYS : WAYS.toReversed()) {
      samples.get(way)!.push(await measured(['call', way]))
    }
  }
  return samples
}

/** All at the same time: idle processes don't disturb each other, and share what else goes on. */
async function measureIdle(rounds: number, idleMs: number): Promise<Samples<IdleWay>> {
  const samples = new Map<IdleWay, number[]>(IDLE_WAYS.map((way) => [way, []]))
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`idle: round ${round + 1} of ${rounds}\n`)
    await Promise.all(
      IDLE_WAYS.map(async (way) => {
        samples.get(way)!.push(await measured(['idle', way, String(idleMs)]))
      })
    )
  }
  return samples
}

async function measured(args: readonly string[]): Promise<number> {
  const child = Child.start('breaker-child', args, SERVER_CORE)
  try {
    return await child.next<number>()
  } finally {
    await child.stop()
  }
}

function ratio<Name extends string>(samples: Samples<Name>, own: Name, base: Name): Estimate {
  const [ofOwn, ofBase] = [samples.get(own)!, samples.get(base)!]
  return bootstrap(ofOwn.length, (chosen) => median(chosen.map((i) => ofOwn[i]! / ofBase[i]!)))
}

function summarised<Name extends string>(samples: Samples<Name>): Record<string, Estimate> {
  return Object.fromEntries([...samples].map(([name, all]) => [name, estimate(all)]))
}

function printCalls(samples: Samples<Way>): void {
  console.log('Processor time of a call (median, 95 % interval)\n')
  printTable(
    ['through', 'ns a call', 'ratio to opossum, defaults', 'ratio to opossum, lean'],
    [...samples].map(([way, all]) => [
      way,
      shownEstimate(estimate(all), 0),
      shownEstimate(ratio(samples, way, 'opossum, defaults')),
      shownEstimate(ratio(samples, way, 'opossum, lean'))
    ])
  )
  console.log('')
}

function printIdle(samples: Samples<IdleWay>, idleMs: number): void {
  console.log(`\nProcessor time of a process with a hundred idle breakers, ${idleMs / 1000} s\n`)
  printTable(
    ['breakers', 'ms', 'ms over none', '% of a core'],
    [...samples].map(([way, all]) => {
      const over = overNone(samples, way)
      return [
        way,
        shownEstimate(estimate(all), 1),
        shownEstimate(over, 1),
        ((over.median / idleMs) * 100).toFixed(3)
      ]
    })
  )
  console.log('')
}

function overNone(samples: Samples<IdleWay>, way: IdleWay): Estimate {
  const none = samples.get('none')!
  return estimate(samples.get(way)!.map((ms, round) => ms - none[round]!))
}

/** @returns whether the run allows any conclusion */
function judgeControl(samples: Samples<Way>): boolean {
  const control = ratio(samples, 'opossum, defaults (control)', 'opossum, defaults')
  const isUsable = control.low <= 1 + CONTROL_TOLERANCE && control.high >= 1 - CONTROL_TOLERANCE
  verdict(`opossum measured twice comes out the same: ${shownEstimate(control, 3)}`, isUsable)
  if (!isUsable) console.log('This run is unusable: quiet the machine.')
  return isUsable
}

function judgeCalls(samples: Samples<Way>): boolean[] {
  const pairs = [
    ['vitals, time-out', 'opossum, defaults'],
    ['vitals, no time-out', 'opossum, lean']
  ] as const
  return pairs.map(([own, base]) => {
    const value = ratio(samples, own, base)
    return verdict(
      `"${own}" costs at most ${MOST_RATIO} times "${base}": ${shownEstimate(value)}`,
      keeps(value, MOST_RATIO)
    )
  })
}

function judgeIdle(samples: Samples<IdleWay>, idleMs: number): boolean {
  const { median: ms, low, high } = overNone(samples, 'vitals')
  const percent = (each: number): number => (each / idleMs) * 100
  const value = { median: percent(ms), low: percent(low), high: percent(high) }
  return verdict(
    `a hundred idle breakers take at most ${MOST_IDLE_PERCENT} % of a core: ${shownEstimate(value, 3)}`,
    keeps(value, MOST_IDLE_PERCENT)
  )
}
