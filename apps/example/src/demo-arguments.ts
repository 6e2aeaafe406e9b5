import { parseArgs } from 'node:util'

export interface DemoArguments {
  readonly keep: boolean
  readonly help: boolean
  /** Length of each of the two phases. */
  readonly seconds: number
}

const SECONDS = 10
const MOST_SECONDS = 20

export const HELP: string = `pnpm demo [--keep] [--seconds N] [--help]

Starts the example shop, sends visitors, switches two faults on, and tells what changed.
  --keep        go on serving afterwards, until Ctrl-C
  --seconds N   length of each of the two phases, 1 to ${MOST_SECONDS} (default ${SECONDS})
  --help        show this

The shop brings its own database; with DATABASE_URL set it uses that PostgreSQL server.`

/** @throws Error that says what is wrong and what is allowed */
export function readArguments(args: readonly string[]): DemoArguments {
  const { keep, help, seconds: given } = parsed(args)
  const seconds = Number(given ?? SECONDS)
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > MOST_SECONDS) {
    throw new Error(`--seconds must be a whole number from 1 to ${MOST_SECONDS}, got "${given}"`)
  }
  return { keep: keep === true, help: help === true, seconds }
}

function parsed(args: readonly string[]): { keep?: boolean; help?: boolean; seconds?: string } {
  try {
    return parseArgs({
      args: [...args],
      options: { keep: { type: 'boolean' }, help: { type: 'boolean' }, seconds: { type: 'string' } }
    }).values
  } catch (error) {
    // Node's own message goes on about how to give such an argument nonetheless
    const [message] = (error as Error).message.split('. ')
    throw new Error(`${message}; --help tells what there is`, { cause: error })
  }
}
