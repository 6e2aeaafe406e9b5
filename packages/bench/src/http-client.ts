import { parseOptions } from './arguments.ts'
import { Child, LOAD_CORE, SERVER_CORE } from './child-process.ts'
import { machine, printTable, shownEstimate, verdict, writeJson } from './report.ts'
import { estimate } from './statistics.ts'

/** The ways of calling; the control is the plain one again and must add nothing. */
export type ClientWay =
  | 'undici Pool'
  | 'undici Pool again (control)'
  | 'vitals'
  | 'vitals, no breaker, no retry'
  | 'vitals, hedging armed'

export const CLIENT_WAYS: readonly ClientWay[] = [
  'undici Pool',
  'vitals',
  'vitals, no breaker, no retry',
  'undici Pool again (control)',
  'vitals, hedging armed'
]

/** Calls under way at once, and connections. */
export const CONNECTIONS = 16

const CALLS = 4000
const QUICK_CALLS = 1500
const ROUNDS = 20
const QUICK_ROUNDS = 6
const WARM_UP_ROUNDS = 2
/** Of what a plain call costs; a control that is farther off says that the run is worth nothing. */
const MOST_CONTROL_SHARE = 0.05

/** What a call through a client costs over undici's own. @returns whether the run is usable */
export async function httpClientCost(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'rounds', 'quick'])
  const rounds = options.rounds ?? (options.quick ? QUICK_ROUNDS : ROUNDS)
  const calls = options.quick ? QUICK_CALLS : CALLS
  console.log(`${machine()}\n`)
  const results = await measure(rounds, calls)
  const plain = results.map((round) => round['undici Pool'])
  const rows = CLIENT_WAYS.map((way) => {
    const costs = results.map((round) => round[way])
    return {
      way,
      cpu_us: estimate(costs),
      added_us: estimate(costs.map((cost, i) => cost - plain[i]!))
    }
  })
  console.log(
    `Processor time of the caller for a GET with a small JSON answer, ${CONNECTIONS} at once, ${rounds} x ${calls} calls (median, 95 % interval)\n`
  )
  printTable(
    ['client', 'µs a call', 'added µs'],
    rows.map(({ way, cpu_us, added_us }) => [
      way,
      shownEstimate(cpu_us, 1),
      way === 'undici Pool' ? '' : shownEstimate(added_us, 1)
    ])
  )
  console.log('')
  const control = rows.find(({ way }) => way.includes('control'))!.added_us
  const limit = rows[0]!.cpu_us.median * MOST_CONTROL_SHARE
  const isUsable = verdict(
    `the control adds nothing (within ${limit.toFixed(1)} µs): ${shownEstimate(control, 1)}`,
    Math.abs(control.median) <= limit
  )
  writeJson(options.json, { node: process.version, rounds, calls, rows })
  return isUsable
}

type Round = Readonly<Record<ClientWay, number>>

async function measure(rounds: number, calls: number): Promise<Round[]> {
  const upstream = Child.start('http-client-upstream-child', [], SERVER_CORE)
  const { port } = await upstream.next<{ port: number }>()
  const client = Child.start(
    'http-client-child',
    [`http://127.0.0.1:${port}`, String(calls)],
    LOAD_CORE
  )
  try {
    await client.next()
    const results: Round[] = []
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      client.send('round')
      const result = await client.next<Round>()
      if (round >= 0) results.push(result)
    }
    return results
  } finally {
    await Promise.all([client.stop(), upstream.stop()])
  }
}
