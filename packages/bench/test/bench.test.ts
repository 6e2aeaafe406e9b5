import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parseOptions } from '../src/arguments.ts'
import { claimOf, isMeasured, keeps, valueOf } from '../src/budgets.ts'
import { bootstrap, estimate, median, mulberry32 } from '../src/statistics.ts'

t.test('a median is the middle, or the mean of the two middle ones', async (t) => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.ok(Number.isNaN(median([])))
})

t.test('an interval holds the true median nineteen times of twenty', async (t) => {
  const random = mulberry32(1)
  let held = 0
  for (let i = 0; i < 100; i++) {
    const { low, high } = estimate(Array.from({ length: 25 }, () => random()))
    if (low <= 0.5 && high >= 0.5) held++
  }
  t.ok(held >= 88, `${held} of 100`)
  t.same(
    bootstrap(5, () => 7),
    { median: 7, low: 7, high: 7 }
  )
})

t.test('a budget is kept, missed, or open while the interval spans it', async (t) => {
  t.equal(keeps({ median: 1, low: 0.9, high: 1.1 }, 2), true)
  t.equal(keeps({ median: 3, low: 2.5, high: 3.1 }, 2), false)
  t.equal(keeps({ median: 2, low: 1.5, high: 2.1 }, 2), undefined)
})

t.test('a share is taken of what all peers add together', async (t) => {
  const added: Record<string, number> = { own: 2, one: 3, two: 5 }
  const budget = { variant: 'own', maxShare: 0.3, peers: ['one', 'two'] }
  const share = valueOf(budget, 4, (name) => added[name]!)
  t.equal(share.median, 0.25)
  t.match(claimOf(budget, share), 'own adds at most 0.300 of one + two: 0.25')
  t.ok(isMeasured(budget, new Set(['own', 'one', 'two'])))
  t.notOk(isMeasured(budget, new Set(['own', 'one'])))
})

t.test('arguments that make no sense are refused, naming what is allowed', async (t) => {
  t.throws(
    () => parseOptions(['--rounds', '1'], ['rounds']),
    /--rounds must be a whole number from 2 to 1000, got "1"/
  )
  t.throws(
    () => parseOptions(['--mode', 'x'], ['mode']),
    /--mode must be sockets, dispatch or both, got "x"/
  )
  t.throws(() => parseOptions(['--nope'], ['json']), /--nope/)
})

const FLAGS = ['--conditions=@fastify-vitals/source', '--import=./scripts/strip-types.mjs']

t.test('a small run of overhead writes the figures it promises', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'bench-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const json = join(directory, 'overhead.json')
  const args = [
    'packages/bench/src/main.ts',
    'overhead',
    '--rounds',
    '2',
    '--variants',
    'vitals: timing',
    '--json',
    json
  ]
  // whether the control is quiet enough is the machine's affair, so the exit code is not looked at
  const { stdout } = spawnSync(process.execPath, [...FLAGS, ...args], { encoding: 'utf8' })
  const { node, variants } = JSON.parse(readFileSync(json, 'utf8')) as {
    node: string
    variants: Record<string, never>[]
  }
  t.equal(node, process.version)
  t.same(
    variants.map(({ name }) => name),
    ['bare', 'bare (control)', 'vitals: timing']
  )
  for (const { cpu_us_per_request: cpu, ratio_to_bare: ratio } of variants) {
    for (const each of [cpu, ratio] as unknown as { median: number; low: number; high: number }[]) {
      t.ok(each.low > 0 && each.low <= each.median && each.median <= each.high)
    }
  }
  t.match(stdout, 'control adds nothing')
})

t.test('unknown commands and variants are refused', async (t) => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [...FLAGS, 'packages/bench/src/main.ts', ...args], {
      encoding: 'utf8'
    })
  const command = run('nope')
  t.equal(command.status, 1)
  t.match(command.stdout, 'overhead')
  const variant = run('overhead', '--variants', 'nope')
  t.equal(variant.status, 1)
  t.match(variant.stderr, 'unknown variant "nope"; there are: bare, ')
})
