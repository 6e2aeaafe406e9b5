import { parseArgs } from 'node:util'

/** Options of all commands, by name; a command says which it takes. */
const OPTIONS = {
  json: { type: 'string' },
  rounds: { type: 'string' },
  routes: { type: 'string' },
  mode: { type: 'string' },
  variants: { type: 'string' },
  quick: { type: 'boolean' },
  check: { type: 'boolean' }
} as const

export type OptionName = keyof typeof OPTIONS

export type Mode = 'sockets' | 'dispatch' | 'both'

export interface BenchOptions {
  readonly json: string | undefined
  readonly rounds: number | undefined
  readonly routes: number | undefined
  readonly mode: Mode | undefined
  readonly variants: readonly string[] | undefined
  readonly quick: boolean
  readonly check: boolean
}

/** @throws Error that names what is wrong and what is allowed */
export function parseOptions(
  args: readonly string[],
  allowed: readonly OptionName[]
): BenchOptions {
  const options = Object.fromEntries(allowed.map((name) => [name, OPTIONS[name]]))
  const { values } = parseArgs({ args: [...args], options, strict: true })
  const given = values as Partial<Record<OptionName, string | boolean>>
  return {
    json: given.json as string | undefined,
    rounds: wholeNumber('--rounds', given.rounds, 2, 1000),
    routes: wholeNumber('--routes', given.routes, 1, 2500),
    mode: modeOf(given.mode),
    variants: (given.variants as string | undefined)?.split(',').map((name) => name.trim()),
    quick: given.quick === true,
    check: given.check === true
  }
}

function wholeNumber(
  name: string,
  text: string | boolean | undefined,
  least: number,
  most: number
): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new Error(`${name} must be a whole number from ${least} to ${most}, got "${text}"`)
}

function modeOf(mode: string | boolean | undefined): Mode | undefined {
  if (mode === undefined || mode === 'sockets' || mode === 'dispatch' || mode === 'both')
    return mode
  throw new Error(`--mode must be sockets, dispatch or both, got "${mode}"`)
}
