import { histogram } from './histogram.ts'
import { memory } from './memory.ts'
import { overhead } from './overhead.ts'
import { rateLimit } from './rate-limit.ts'
import { rateLimitRedis } from './rate-limit-redis.ts'
import { scrape } from './scrape.ts'

type Command = (args: readonly string[]) => Promise<boolean>

const COMMANDS: Readonly<Record<string, { readonly run: Command; readonly help: string }>> = {
  overhead: {
    run: overhead,
    help: 'processor time per request, ours and peers  [--quick] [--rounds N] [--mode sockets|dispatch|both] [--variants A,B] [--check] [--json FILE]'
  },
  scrape: {
    run: scrape,
    help: 'time and longest turn of a scrape            [--routes N] [--rounds N] [--json FILE]'
  },
  histogram: {
    run: histogram,
    help: 'error of quantiles and cost of recording     [--rounds N] [--json FILE]'
  },
  'rate-limit': {
    run: rateLimit,
    help: 'a million keys: memory, cost, and a flood      [--quick] [--rounds N] [--json FILE]'
  },
  'rate-limit-redis': {
    run: rateLimitRedis,
    help: 'a limit shared through Redis that fails        [--quick] [--json FILE]'
  },
  memory: { run: memory, help: 'bytes a series, a flood and a day cost       [--json FILE]' }
}

const [name = '', ...args] = process.argv.slice(2)
const command = COMMANDS[name]
if (command === undefined) {
  console.log('pnpm bench COMMAND, where COMMAND is one of')
  for (const [known, { help }] of Object.entries(COMMANDS))
    console.log(`  ${known.padEnd(16)} ${help}`)
  process.exitCode = name === '' || name === '--help' ? 0 : 1
} else {
  try {
    process.exitCode = (await command.run(args)) ? 0 : 1
  } catch (error) {
    console.error(`bench ${name}: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
}
