import type { EndpointFigures } from './changes.ts'
import { HELP, readArguments } from './demo-arguments.ts'
import { printChanges, printFigures } from './demo-report.ts'
import type { FaultName } from './faults.ts'
import { showBreaker, showBytes, showLimit } from './demo-protection.ts'
import { phase, readView } from './demo-stage.ts'
import type { Stage } from './demo-stage.ts'
import { startShop } from './shop-process.ts'
import type { ShopProcess } from './shop-process.ts'
import { openTerminal } from './terminal.ts'
import type { Terminal } from './terminal.ts'
import { Traffic } from './traffic.ts'

const RATE_PER_SECOND = 200
const WARM_UP_SECONDS = 2

const FAULTS: readonly { readonly name: FaultName; readonly where: string }[] = [
  { name: 'slow-query', where: 'addSearch in apps/example/src/catalogue.ts' },
  { name: 'n-plus-one', where: 'linesOneByOne in apps/example/src/orders.ts' }
]

const terminal = openTerminal(process.stdout, process.env)
try {
  const { keep, help, seconds } = readArguments(process.argv.slice(2))
  if (help) terminal.print(HELP)
  else await demo(terminal, seconds, keep)
} catch (error) {
  console.error(`\ndemo: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

async function demo(out: Terminal, seconds: number, isKept: boolean): Promise<void> {
  out.print(out.bold('fastify-vitals: a shop, its visitors, and two faults'))
  out.print('Starting the shop: 10 000 products, 5 000 customers, 100 000 order lines ...')
  const shop = await startShop()
  const traffic = new Traffic({ origin: shop.address, ratePerSecond: RATE_PER_SECOND, seed: 7 })
  try {
    await Promise.race([shop.ended, show({ out, shop, traffic, seconds })])
    if (isKept) await keepServing(out, shop)
  } finally {
    await traffic.close()
    await shop.stop()
  }
  out.print(out.green('The demo is over: everything worked.'))
}

async function show(stage: Stage): Promise<void> {
  const { out, shop, traffic } = stage
  out.print(`The shop serves on ${shop.address}. ${RATE_PER_SECOND} visitors a second are coming.`)
  await phase(stage, 'warming up', WARM_UP_SECONDS)

  out.print()
  out.print(out.bold('1. All is well'))
  const before = await scene(stage, 'visitors come and go')

  out.print()
  out.print(out.bold('2. Two faults are switched on; which endpoints they hit, the figures tell'))
  await switchFaults(shop, true)
  const after = await scene(stage, 'the same kind of visitors, with the faults')
  await switchFaults(shop, false)

  out.print()
  out.print(out.bold('3. What changed, and what cost the visitors most'))
  printChanges(out, before, after)
  out.print()
  out.print(out.bold('4. Where to look'))
  for (const { name, where } of FAULTS) out.print(`  ${name.padEnd(12)} was in ${where}`)

  out.print()
  out.print(out.bold('5. A client that asks too much is limited, the others are not'))
  await showLimit(stage)

  out.print()
  out.print(out.bold('6. Another service fails: the breaker opens, tries, and closes again'))
  await showBreaker(stage)

  out.print()
  out.print(out.bold('7. What compression saved so far'))
  await showBytes(stage)
  printEnd(out, traffic)
}

/** One stretch of traffic, and the shop's figures of it. */
async function scene(stage: Stage, what: string): Promise<EndpointFigures[]> {
  await stage.shop.admin('POST', '/admin/actions/reset')
  await phase(stage, what, stage.seconds)
  const { endpoints } = await readView<{ endpoints: EndpointFigures[] }>(stage, 'endpoints')
  printFigures(stage.out, endpoints)
  return endpoints
}

async function switchFaults(shop: ShopProcess, enabled: boolean): Promise<void> {
  for (const { name } of FAULTS) await shop.admin('PUT', `/admin/faults/${name}`, { enabled })
}

function printEnd(out: Terminal, { counts }: Traffic): void {
  out.print(
    `
All figures are the shop's own, counted by its timing plugin while it served. p50: half of the
requests were this fast or faster; p95 and p99: 95 and 99 of 100 were. errors: answers from 500 on.
hung up: they left before their answer came; ${counts.impatient} visitors were told to, to show that it is counted.
The visitors sent ${counts.sent} requests and got ${counts.answered} answers; ${counts.skipped} were left out because too many waited.
`
  )
  out.print('Next: pnpm demo --keep to look around, pnpm start for the shop alone,')
  out.print('GET /metrics for Prometheus; apps/example/README.md has all routes and faults.')
}

async function keepServing(out: Terminal, shop: ShopProcess): Promise<void> {
  const { address, adminToken } = shop
  out.print(`\nStill serving on ${address}, faults off; stop with Ctrl-C. Try:`)
  out.print(`  curl ${address}/metrics`)
  for (const path of ['/admin/views/endpoints', '/admin/faults']) {
    out.print(`  curl -H 'authorization: Bearer ${adminToken}' ${address}${path}`)
  }
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
  await Promise.race([shop.ended, stopped])
}
