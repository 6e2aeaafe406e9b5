import zlib from 'node:zlib'
import { parseOptions } from './arguments.ts'
import { Child, SERVER_CORE } from './child-process.ts'
import { machine, printTable, shownEstimate, verdict, writeJson } from './report.ts'
import { bootstrap, median } from './statistics.ts'
import type { Estimate } from './statistics.ts'

export type Subject =
  | 'no compression'
  | '@fastify/compress'
  | 'control'
  | 'same levels'
  | 'same levels, one core'
  | 'vitals'

/** What a child is told to do. */
export interface Batch {
  readonly bytes: number
  readonly encoding: string
  readonly isRepeated: boolean
  readonly requests: number
}

export interface BatchResult {
  readonly cpuUs: number
  /** What our plugin says that compression took of it. */
  readonly reportedUs: number
  readonly bytesBefore: number
  readonly bytesAfter: number
}

interface Scenario extends Batch {
  readonly name: string
}

type Results = ReadonlyMap<Scenario, ReadonlyMap<Subject, BatchResult[]>>

const SUBJECTS: readonly Subject[] = [
  'no compression',
  '@fastify/compress',
  'control',
  'same levels',
  'same levels, one core',
  'vitals'
]
/** Whom we are judged against: all that somebody may have now. */
const PEERS: readonly Subject[] = ['@fastify/compress', 'same levels', 'same levels, one core']
const ROUNDS = 11
const QUICK_ROUNDS = 4
const SMALL_BYTES = 200
const SIZES = [1100, 20_000, 200_000] as const
const MIDDLE_BYTES = 20_000
/** What this Node has, in our order. */
export const ENCODINGS: readonly ('br' | 'zstd' | 'gzip' | 'deflate')[] =
  'createZstdCompress' in zlib ? ['br', 'zstd', 'gzip', 'deflate'] : ['br', 'gzip', 'deflate']
/** Our defaults; theirs are 4 and 6. */
export const VITALS_BR_LEVEL = 2
export const VITALS_ZLIB_LEVEL = 5
/** The same plugin measured twice may differ by so much for certain, or the run proves nothing. */
const CONTROL_TOLERANCE = 0.05
const MOST_SHARE = 0.5
const LEAST_SPEEDUP = 5
const SMALL_TOLERANCE = 1.1

const SMALL: Scenario = {
  name: '0.2 KB, under the threshold',
  bytes: SMALL_BYTES,
  encoding: 'gzip, deflate, br',
  isRepeated: false,
  requests: 10_000
}

const SCENARIOS: readonly Scenario[] = [SMALL, ...SIZES.flatMap((bytes) => scenariosOf(bytes))]

function scenariosOf(bytes: number): Scenario[] {
  const requests = bytes >= 200_000 ? 24 : bytes >= 20_000 ? 160 : 3000
  return ENCODINGS.flatMap((encoding) =>
    [false, true].map((isRepeated) => ({
      name: `${Math.round(bytes / 1000)} KB ${encoding}${isRepeated ? ', repeated' : ''}`,
      bytes,
      encoding,
      isRepeated,
      requests
    }))
  )
}

/** Processor time and bytes of compressed JSON, ours and @fastify/compress. @returns whether the claims hold */
export async function compression(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'rounds', 'quick'])
  const rounds = options.rounds ?? (options.quick ? QUICK_ROUNDS : ROUNDS)
  console.log(machine())
  const results = await measure(rounds)
  print(results)
  const isUsable = judgeControl(results)
  const kept = isUsable && judge(results)
  writeJson(options.json, { node: process.version, rounds, rows: rowsOf(results) })
  return kept
}

/** Every scenario in every child, in turn, round by round; the first round warms up. */
async function measure(rounds: number): Promise<Results> {
  const children = SUBJECTS.map((subject) =>
    Child.start('compression-child', [subject], SERVER_CORE, ['--expose-gc'])
  )
  try {
    for (const child of children) await child.next()
    const results = new Map(
      SCENARIOS.map((scenario) => [
        scenario,
        new Map(SUBJECTS.map((name) => [name, [] as BatchResult[]]))
      ])
    )
    for (let round = 0; round <= rounds; round++) {
      process.stderr.write(`round ${round} of ${rounds}\n`)
      for (const scenario of SCENARIOS) {
        const order = [...SUBJECTS.entries()]
        for (const [i, subject] of round % 2 === 0 ? order : order.toReversed()) {
          children[i]!.send(JSON.stringify(scenario))
          const result = await children[i]!.next<BatchResult>()
          if (round > 0) results.get(scenario)!.get(subject)!.push(result)
        }
      }
    }
    return results
  } finally {
    await Promise.all(children.map(async (child) => await child.stop()))
  }
}

function cpuOf(results: Results, scenario: Scenario, subject: Subject): number[] {
  return results
    .get(scenario)!
    .get(subject)!
    .map(({ cpuUs }) => cpuUs)
}

function bytesOf(results: Results, scenario: Scenario, subject: Subject): number {
  return median(
    results
      .get(scenario)!
      .get(subject)!
      .map(({ bytesAfter }) => bytesAfter)
  )
}

/** One subject's processor time as a share of another's, in the same rounds. */
function share([one, other]: readonly [readonly number[], readonly number[]]): Estimate {
  return bootstrap(one.length, (chosen) => median(chosen.map((i) => one[i]! / other[i]!)))
}

function shareOf(results: Results, scenario: Scenario, subject: Subject, of: Subject): Estimate {
  return share([cpuOf(results, scenario, subject), cpuOf(results, scenario, of)])
}

function rowsOf(results: Results): object[] {
  return [...results].flatMap(([scenario, bySubject]) =>
    [...bySubject].map(([subject, all]) => ({
      scenario: scenario.name,
      subject,
      cpu_us: median(all.map(({ cpuUs }) => cpuUs)),
      bytes_before: median(all.map(({ bytesBefore }) => bytesBefore)),
      bytes_after: median(all.map(({ bytesAfter }) => bytesAfter)),
      share_of_fastify_compress: shareOf(results, scenario, subject, '@fastify/compress')
    }))
  )
}

function print(results: Results): void {
  console.log('\nProcessor time of all threads per response, and bytes sent with headers\n')
  printTable(
    [
      'body',
      'none µs',
      '@fastify/compress µs',
      'at our levels µs',
      'and on one core µs',
      'vitals µs',
      'of it reported',
      'share of theirs',
      'at our levels',
      'their bytes',
      'our bytes'
    ],
    SCENARIOS.map((scenario) => {
      const us = (subject: Subject): string => median(cpuOf(results, scenario, subject)).toFixed(1)
      const reported = results
        .get(scenario)!
        .get('vitals')!
        .map(({ reportedUs }) => reportedUs)
      return [
        scenario.name,
        us('no compression'),
        us('@fastify/compress'),
        us('same levels'),
        us('same levels, one core'),
        us('vitals'),
        median(reported).toFixed(1),
        shownEstimate(shareOf(results, scenario, 'vitals', '@fastify/compress')),
        shownEstimate(shareOf(results, scenario, 'vitals', 'same levels')),
        bytesOf(results, scenario, '@fastify/compress').toFixed(0),
        bytesOf(results, scenario, 'vitals').toFixed(0)
      ]
    })
  )
  console.log('')
}

function judgeControl(results: Results): boolean {
  const off = SCENARIOS.map((scenario) => {
    const { low, high } = shareOf(results, scenario, 'control', '@fastify/compress')
    return Math.max(low - 1, 1 - high)
  })
  const worst = Math.max(...off)
  return verdict(
    `the control differs by no more than ${CONTROL_TOLERANCE * 100} % for certain: ${(Math.max(0, worst) * 100).toFixed(1)} %`,
    worst <= CONTROL_TOLERANCE
  )
}

function judge(results: Results): boolean {
  const unique = SCENARIOS.filter((scenario) => scenario !== SMALL && !scenario.isRepeated)
  return [
    judgeSmall(results),
    ...unique.flatMap((scenario) => PEERS.map((peer) => judgeNeverSlower(results, scenario, peer))),
    ...unique
      .filter(({ bytes }) => bytes === MIDDLE_BYTES)
      .flatMap((scenario) => [
        ...PEERS.map((peer) => judgeHalf(results, scenario, peer)),
        judgeRepeated(results, scenario)
      ])
  ].every(Boolean)
}

function judgeSmall(results: Results): boolean {
  const [bare, theirs, ours] = (['no compression', '@fastify/compress', 'vitals'] as const).map(
    (subject) => cpuOf(results, SMALL, subject)
  ) as [number[], number[], number[]]
  const added = bootstrap(bare.length, (chosen) => {
    const of = (all: readonly number[]): number => median(chosen.map((i) => all[i]! - bare[i]!))
    return of(ours) / of(theirs)
  })
  return verdict(
    `under the threshold at most ${SMALL_TOLERANCE} times what @fastify/compress adds: ${shownEstimate(added)}`,
    within(added, SMALL_TOLERANCE)
  )
}

/** Where both only call zlib the true ratio is near 1: it is missed when it is more for certain. */
function judgeNeverSlower(results: Results, scenario: Scenario, peer: Subject): boolean {
  const ratio = shareOf(results, scenario, 'vitals', peer)
  return verdict(
    `${scenario.name}: never slower than ${peer}: ${shownEstimate(ratio)} of the time`,
    ratio.high <= 1 ? true : ratio.low <= 1 ? undefined : false
  )
}

/**
 * Half of the time counts only where no more bytes are sent. Against their defaults that is a
 * different level, so both are told: what it took, and how many bytes.
 */
function judgeHalf(results: Results, scenario: Scenario, peer: Subject): boolean {
  const ratio = shareOf(results, scenario, 'vitals', peer)
  const bytes = bytesOf(results, scenario, 'vitals') / bytesOf(results, scenario, peer)
  const more = `${((bytes - 1) * 100).toFixed(1)} % more bytes`
  return verdict(
    `${scenario.name}: at most half of the time of ${peer} at the same ratio or better: ${shownEstimate(ratio)}, ${more}`,
    bytes <= 1.001 ? within(ratio, MOST_SHARE) : false
  )
}

function judgeRepeated(results: Results, scenario: Scenario): boolean {
  const repeated = SCENARIOS.find(
    ({ bytes, encoding, isRepeated }) =>
      isRepeated && bytes === scenario.bytes && encoding === scenario.encoding
  )!
  const ratio = share([cpuOf(results, repeated, 'vitals'), cpuOf(results, scenario, 'vitals')])
  return verdict(
    `${repeated.name}: at least ${LEAST_SPEEDUP} times cheaper than bodies that are new: ${(1 / ratio.median).toFixed(1)} times`,
    within(ratio, 1 / LEAST_SPEEDUP)
  )
}

/** @returns undefined when the interval holds both answers */
function within({ median: middle, high }: Estimate, most: number): boolean | undefined {
  if (high <= most) return true
  return middle <= most ? undefined : false
}
