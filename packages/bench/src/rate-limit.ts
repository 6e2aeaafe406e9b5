import { parseOptions } from './arguments.ts'
import { Child, SERVER_CORE } from './child-process.ts'
import type { RateLimitFigures } from './rate-limit-child.ts'
import { BUCKET_WAY, CONTROL_WAY, PEER_WAY, WAYS } from './rate-limit-ways.ts'
import { keeps } from './budgets.ts'
import { machine, printTable, shownEstimate, verdict, writeJson } from './report.ts'
import { bootstrap, estimate, median } from './statistics.ts'
import type { Estimate } from './statistics.ts'

const KEYS = 1_000_000
const QUICK_KEYS = 100_000
const ROUNDS = 5
const QUICK_ROUNDS = 2
const MOST_BYTES_PER_KEY = 60

/** Memory of limiters by key, what a key among many costs, and whether a flood sets a victim free. */
export async function rateLimit(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'rounds', 'quick'])
  const keys = options.quick ? QUICK_KEYS : KEYS
  const rounds = options.rounds ?? (options.quick ? QUICK_ROUNDS : ROUNDS)
  const samples = await measure(keys, rounds)
  console.log(`${machine()}\n\n${keys} keys, processor time per request in dispatch\n`)
  const results = [...samples].map(([name, own]) => ({
    name,
    mb: estimate(own.map(({ bytes }) => bytes / 1e6)),
    hot_added_us: added(samples, name, 'hotUs'),
    random_added_us: added(samples, name, 'randomUs'),
    victim_still_limited: own.every(({ isVictimStillLimited }) => isVictimStillLimited)
  }))
  printTable(
    ['limiter', 'MB', 'added µs, hot key', 'added µs, random key', 'victim of a flood'],
    results.map((result) => [
      result.name,
      shownEstimate(result.mb, 1),
      shownEstimate(result.hot_added_us),
      shownEstimate(result.random_added_us),
      result.victim_still_limited ? 'stays limited' : 'is set free'
    ])
  )
  console.log('')
  const bucket = results.find(({ name }) => name === BUCKET_WAY)!
  const most = (MOST_BYTES_PER_KEY * keys) / 1e6
  const share = bootstrap(rounds, (chosen) => {
    const of = (name: string): number =>
      median(chosen.map((round) => addedIn(samples, name, 'randomUs', round)))
    return of(BUCKET_WAY) / of(PEER_WAY)
  })
  const kept = [
    verdict(`the token bucket holds ${keys} keys in ${most} MB`, keeps(bucket.mb, most)),
    verdict('a flood of keys sets nobody free', bucket.victim_still_limited),
    verdict(
      `with so many keys it adds less than @fastify/rate-limit: ${shownEstimate(share)} of it`,
      keeps(share, 1)
    )
  ]
  writeJson(options.json, { node: process.version, keys, rounds, limiters: results })
  return kept.every(Boolean)
}

type Samples = ReadonlyMap<string, RateLimitFigures[]>
type Cost = 'hotUs' | 'randomUs'

async function measure(keys: number, rounds: number): Promise<Samples> {
  const samples = new Map<string, RateLimitFigures[]>(WAYS.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`rate-limit: round ${round + 1} of ${rounds}\n`)
    for (const { name } of round % 2 === 0 ? WAYS : WAYS.toReversed()) {
      const child = Child.start('rate-limit-child', [name, String(keys)], SERVER_CORE, [
        '--expose-gc'
      ])
      samples.get(name)!.push(await child.next<RateLimitFigures>())
      await child.stop()
    }
  }
  return samples
}

function added(samples: Samples, name: string, cost: Cost): Estimate {
  return estimate(samples.get(name)!.map((_, round) => addedIn(samples, name, cost, round)))
}

function addedIn(samples: Samples, name: string, cost: Cost, round: number): number {
  return samples.get(name)![round]![cost] - samples.get(CONTROL_WAY)![round]![cost]
}
