import { setTimeout as wait } from 'node:timers/promises'
import { phase, readView } from './demo-stage.ts'
import type { Stage } from './demo-stage.ts'
import { askGreedily } from './greedy-client.ts'
import { CLIENT_BURST, CLIENT_REQUESTS_PER_SECOND } from './protection.ts'

const GREEDY_ADDRESS = '203.0.113.9'
const GREEDY_PER_SECOND = 10 * CLIENT_REQUESTS_PER_SECOND
const LIMIT_SECONDS = 3
const FAILING_SECONDS = 4
const RECOVERY_SECONDS = 15

/** One client that asks ten times what it may. */
export async function showLimit(stage: Stage): Promise<void> {
  const { out, shop, traffic } = stage
  const what = `${GREEDY_ADDRESS} asks ${GREEDY_PER_SECOND} times a second; each client may ${CLIENT_REQUESTS_PER_SECOND}, and ${CLIENT_BURST} at once`
  const before = { ...traffic.counts }
  const [greedy] = await Promise.all([
    askGreedily(shop.address, GREEDY_ADDRESS, GREEDY_PER_SECOND, LIMIT_SECONDS),
    phase(stage, what, LIMIT_SECONDS)
  ])
  const others = {
    answered: traffic.counts.answered - before.answered,
    limited: traffic.counts.limited - before.limited
  }
  out.print(out.dim(clientRow('who', 'served', 'told to wait (429)')))
  out.print(clientRow(GREEDY_ADDRESS, greedy.served, greedy.limited))
  out.print(clientRow('all other visitors', others.answered - others.limited, others.limited))
  if (greedy.retryAfterSeconds !== undefined) {
    out.print(`  It was told to come again in ${greedy.retryAfterSeconds} s (Retry-After).`)
  }
}

function clientRow(who: string, served: number | string, limited: number | string): string {
  return `  ${who.padEnd(22)} ${String(served).padStart(8)} ${String(limited).padStart(20)}`
}

interface BreakersView {
  readonly breakers: readonly {
    readonly name: string
    readonly state: string
    readonly calls: Readonly<Record<string, number>>
    readonly last_transitions: readonly {
      readonly at: string
      readonly from: string
      readonly to: string
      readonly reason: string
    }[]
  }[]
}

type Breaker = BreakersView['breakers'][number]

/** The price service fails, and comes back. */
export async function showBreaker(stage: Stage): Promise<void> {
  const { out, shop } = stage
  const before = await priceBreaker(stage)
  const startMs = Date.now()
  const events: [atMs: number, what: string][] = [[startMs, 'the price service begins to fail']]
  await shop.admin('PUT', '/admin/faults/failing-upstream', { enabled: true })
  await phase(stage, 'the price service fails', FAILING_SECONDS)
  await shop.admin('PUT', '/admin/faults/failing-upstream', { enabled: false })
  events.push([Date.now(), 'the price service is well again'])
  const after = await recovered(stage)
  for (const { at, to, reason } of after.last_transitions) {
    if (Date.parse(at) >= startMs) events.push([Date.parse(at), `breaker ${to}: ${reason}`])
  }
  for (const [atMs, what] of events.toSorted((a, b) => a[0] - b[0])) {
    out.print(`  ${((atMs - startMs) / 1000).toFixed(1).padStart(5)} s  ${what}`)
  }
  const more = (result: string): number => (after.calls[result] ?? 0) - (before.calls[result] ?? 0)
  out.print(
    `  ${more('failure')} calls failed; ${more('rejected')} more were answered at once, without troubling a service that was down.`
  )
  if (after.state !== 'closed') throw new Error(`the breaker did not recover: it is ${after.state}`)
}

/** Lets visitors come until the breaker is closed again. */
async function recovered(stage: Stage): Promise<Breaker> {
  const untilMs = performance.now() + RECOVERY_SECONDS * 1000
  for (;;) {
    const breaker = await priceBreaker(stage)
    if (breaker.state === 'closed' || performance.now() > untilMs) return breaker
    await Promise.all([stage.traffic.run(0.5), wait(500)])
  }
}

async function priceBreaker(stage: Stage): Promise<Breaker> {
  const { breakers } = await readView<BreakersView>(stage, 'breakers')
  const found = breakers.find(({ name }) => name.startsWith('prices'))
  if (found === undefined) throw new Error('there is no breaker of the price service')
  return found
}

interface CompressionView {
  readonly bytes_before: number
  readonly bytes_after: number
  readonly bytes_saved: number
  readonly cpu_ms: number
  readonly routes: readonly {
    readonly method: string
    readonly route: string
    readonly encoding: string
    readonly bytes_before: number
    readonly bytes_after: number
  }[]
}

/** What compression made of the answers since the last reset. */
export async function showBytes(stage: Stage): Promise<void> {
  const { out } = stage
  const view = await readView<CompressionView>(stage, 'compression')
  out.print(out.dim(bytesRow('route', 'encoding', 'kB made', 'kB sent')))
  const routes = view.routes.toSorted((a, b) => b.bytes_before - a.bytes_before)
  for (const { method, route, encoding, bytes_before, bytes_after } of routes.slice(0, 4)) {
    out.print(
      bytesRow(`${method} ${route}`, encoding, kilobytes(bytes_before), kilobytes(bytes_after))
    )
  }
  const percent = Math.round((100 * view.bytes_saved) / Math.max(1, view.bytes_before))
  out.print(
    `  ${kilobytes(view.bytes_saved)} kB were not sent (${percent} %), for ${view.cpu_ms.toFixed(0)} ms of processor time.`
  )
}

function bytesRow(route: string, encoding: string, made: string, sent: string): string {
  return `  ${route.padEnd(34)} ${encoding.padStart(8)} ${made.padStart(11)} ${sent.padStart(11)}`
}

function kilobytes(bytes: number): string {
  return (bytes / 1000).toFixed(0)
}
