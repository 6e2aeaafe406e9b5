import { parseArgs } from 'node:util'
import { setTimeout as wait } from 'node:timers/promises'
import { printChanges, printFigures } from './demo-report.ts'
import type { EndpointFigures } from './demo-report.ts'
import { startShop } from './shop-process.ts'
import type { ShopProcess } from './shop-process.ts'
import { openTerminal } from './terminal.ts'
import type { Terminal } from './terminal.ts'
import { Traffic } from './traffic.ts'

const RATE_PER_SECOND = 120
const SECONDS_PER_PHASE = 10
const WARM_UP_SECONDS = 2
const FAULT = 'n-plus-one'

const HELP = `pnpm demo [--keep] [--seconds N]

Starts the example shop, sends visitors, switches a fault on, and tells what changed.
  --keep        go on serving afterwards
  --seconds N   length of each of the two phases, 1 to 20 (default ${SECONDS_PER_PHASE})`

const terminal = openTerminal(process.stdout, process.env)
try {
  const { keep, help, seconds } = readArguments(process.argv.slice(2))
  if (help) terminal.print(HELP)
  else await demo(terminal, seconds, keep)
} catch (error) {
  console.error(`demo: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

function readArguments(args: string[]): { keep: boolean; help: boolean; seconds: number } {
  const { values } = parseArgs({
    args,
    options: { keep: { type: 'boolean' }, help: { type: 'boolean' }, seconds: { type: 'string' } }
  })
  const seconds = Number(values.seconds ?? SECONDS_PER_PHASE)
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > 20) {
    throw new Error(`--seconds must be a whole number from 1 to 20, got "${values.seconds}"`)
  }
  return { keep: values.keep === true, help: values.help === true, seconds }
}

async function demo(out: Terminal, seconds: number, isKept: boolean): Promise<void> {
  out.print(out.bold('fastify-vitals: a shop, its visitors, and a fault'))
  out.print('Starting the shop: 10 000 products, 5 000 customers, 100 000 order lines ...')
  const shop = await startShop()
  const traffic = new Traffic({ origin: shop.address, ratePerSecond: RATE_PER_SECOND, seed: 7 })
  try {
    await Promise.race([shop.ended, show(out, shop, traffic, seconds)])
    if (isKept) await keepServing(out, shop)
  } finally {
    await traffic.close()
    await shop.stop()
  }
  out.print(out.green('The demo is over: everything worked.'))
}

async function show(
  out: Terminal,
  shop: ShopProcess,
  traffic: Traffic,
  seconds: number
): Promise<void> {
  out.print(`The shop serves on ${shop.address}. ${RATE_PER_SECOND} visitors a second are coming.`)
  await phase(out, traffic, 'warming up', WARM_UP_SECONDS)
  await shop.admin('POST', '/admin/actions/reset')

  out.print('')
  out.print(out.bold('1. All is well'))
  await phase(out, traffic, 'visitors come and go', seconds)
  const before = await figures(shop)
  printFigures(out, before)

  await shop.admin('PUT', `/admin/faults/${FAULT}`, { enabled: true })
  await shop.admin('POST', '/admin/actions/reset')
  out.print('')
  out.print(
    out.bold('2. A fault comes: the page of a customer asks the database once for every line')
  )
  await phase(out, traffic, 'the same visitors, with the fault on', seconds)
  const after = await figures(shop)
  printFigures(out, after)
  await shop.admin('PUT', `/admin/faults/${FAULT}`, { enabled: false })

  out.print('')
  out.print(out.bold('3. What changed'))
  printChanges(out, before, after)
  out.print('')
  out.print(`All figures are the shop's own, counted by its timing plugin while it served.`)
  out.print(
    `The visitors sent ${traffic.counts.sent} requests and got ${traffic.counts.answered} answers;`
  )
  out.print(`${traffic.counts.unanswered} got none, most of them because they hung up on purpose.`)
  out.print('Next: pnpm start, then GET /metrics for Prometheus; README.md has your first plugin.')
}

async function phase(
  out: Terminal,
  traffic: Traffic,
  what: string,
  seconds: number
): Promise<void> {
  let done = 0
  const timer = setInterval(() => out.progress(what, Math.min(++done, seconds - 1), seconds), 1000)
  out.progress(what, 0, seconds)
  try {
    await traffic.run(seconds)
  } finally {
    clearInterval(timer)
  }
  out.progress(what, seconds, seconds)
}

async function figures(shop: ShopProcess): Promise<EndpointFigures[]> {
  const view = await shop.admin('GET', '/admin/views/endpoints')
  return (view as { endpoints: EndpointFigures[] }).endpoints
}

async function keepServing(out: Terminal, shop: ShopProcess): Promise<void> {
  out.print('')
  out.print(`Still serving on ${shop.address}; stop with Ctrl-C. Figures of all endpoints:`)
  out.print(
    `  curl -H 'authorization: Bearer ${shop.adminToken}' ${shop.address}/admin/views/endpoints`
  )
  const stopped = new AbortController()
  process.once('SIGINT', () => stopped.abort())
  process.once('SIGTERM', () => stopped.abort())
  while (!stopped.signal.aborted) {
    await Promise.race([
      shop.ended,
      wait(86_400_000, undefined, { signal: stopped.signal }).catch(() => {})
    ])
  }
}
