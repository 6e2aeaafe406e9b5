import { breaker } from './breaker.ts'
import { compression } from './compression.ts'
import { histogram } from './histogram.ts'
import { httpClientCost } from './http-client.ts'
import { memory } from './memory.ts'
import { overhead } from './overhead.ts'
import { overload } from './overload.ts'
import { pools } from './pools.ts'
import { rateLimit } from './rate-limit.ts'
import { rateLimitRedis } from './rate-limit-redis.ts'
import { retryAmplification } from './retry.ts'
import { scrape } from './scrape.ts'

interface Command {
  /** @returns whether the run is usable and its budgets are kept */
  readonly run: (args: readonly string[]) => Promise<boolean>
  readonly help: string
  readonly flags: string
}

const COMMANDS: Readonly<Record<string, Command>> = {
  overhead: {
    run: overhead,
    help: 'processor time per request, ours and peers',
    flags: '[--quick] [--rounds N] [--mode sockets|dispatch|both] [--variants A,B] [--check]'
  },
  scrape: {
    run: scrape,
    help: 'time and longest turn of a scrape',
    flags: '[--routes N] [--rounds N]'
  },
  histogram: {
    run: histogram,
    help: 'error of quantiles and cost of recording',
    flags: '[--rounds N]'
  },
  memory: { run: memory, help: 'bytes a series, a flood and a day cost', flags: '' },
  'rate-limit': {
    run: rateLimit,
    help: 'a million keys: memory, cost, and a flood',
    flags: '[--quick] [--rounds N]'
  },
  'rate-limit-redis': {
    run: rateLimitRedis,
    help: 'a limit shared through a Redis that fails',
    flags: '[--quick]'
  },
  breaker: {
    run: breaker,
    help: 'a call behind a breaker, and idle breakers',
    flags: '[--quick] [--rounds N]'
  },
  retry: {
    run: retryAmplification,
    help: 'load that retries put on a failing upstream',
    flags: '[--quick]'
  },
  'http-client': {
    run: httpClientCost,
    help: 'a call, compared with undici alone',
    flags: '[--quick] [--rounds N]'
  },
  compression: {
    run: compression,
    help: 'processor time and bytes by encoding',
    flags: '[--quick] [--rounds N]'
  },
  overload: {
    run: overload,
    help: 'goodput and latency beyond capacity',
    flags: '[--quick] [--variants A,B]'
  },
  pools: {
    run: pools,
    help: 'whether pools of buffers and objects pay',
    flags: '[--quick] [--rounds N]'
  }
}

const [name = '', ...args] = process.argv.slice(2)
const command = COMMANDS[name]
if (command === undefined) {
  console.log('pnpm bench COMMAND, where COMMAND is one of')
  for (const [known, { help, flags }] of Object.entries(COMMANDS)) {
    console.log(`  ${known.padEnd(16)} ${help.padEnd(44)} ${flags} [--json FILE]`)
  }
  process.exitCode = name === '' || name === '--help' ? 0 : 1
} else {
  try {
    process.exitCode = (await command.run(args)) ? 0 : 1
  } catch (error) {
    console.error(`bench ${name}: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
}
