import { changesOf } from './changes.ts'
import type { Change, EndpointFigures } from './changes.ts'
import { harmless } from './terminal.ts'
import type { Terminal } from './terminal.ts'

type Cell = (each: EndpointFigures) => string

const COLUMNS: readonly (readonly [title: string, cell: Cell])[] = [
  ['requests', (each) => String(each.request_count)],
  ['per s', (each) => each.requests_per_second.toFixed(1)],
  ['p50 ms', (each) => shownMs(each.p50_ms)],
  ['p95 ms', (each) => shownMs(each.p95_ms)],
  ['p99 ms', (each) => shownMs(each.p99_ms)],
  ['errors', (each) => String(each.error_count)],
  ['hung up', (each) => String(each.outcomes.aborted ?? 0)]
]

/** A table of all endpoints. */
export function printFigures(terminal: Terminal, figures: readonly EndpointFigures[]): void {
  const width = Math.max(8, ...figures.map((each) => nameOf(each).length))
  const line = (first: string, cells: readonly string[]): string =>
    `  ${first.padEnd(width)} ${cells.map((cell) => cell.padStart(9)).join('')}`
  terminal.print(
    terminal.dim(
      line(
        'endpoint',
        COLUMNS.map(([title]) => title)
      )
    )
  )
  for (const each of figures.toSorted((a, b) => b.request_count - a.request_count)) {
    terminal.print(
      line(
        nameOf(each),
        COLUMNS.map(([, cell]) => cell(each))
      )
    )
  }
}

/** What got worse: what costs the visitors most comes first, each with what the figures say. */
export function printChanges(
  terminal: Terminal,
  before: readonly EndpointFigures[],
  after: readonly EndpointFigures[]
): void {
  const changes = changesOf(before, after)
  for (const [index, change] of changes.entries()) {
    const name = terminal.bold(nameOf(change.after))
    terminal.print(`  ${index + 1}. ${terminal.red('slower')}  ${name}`)
    for (const [what, from, to] of rowsOf(change)) {
      terminal.print(`       ${what.padEnd(20)} ${from.padStart(8)}  →  ${to}`)
    }
    for (const hint of hintsOf(change)) terminal.print(`       ${hint}`)
  }
  const others = after.length - changes.length
  if (changes.length === 0) terminal.print('  Nothing got noticeably slower.')
  else
    terminal.print(
      `  A typical request of the other ${others} endpoints takes about as long as before.`
    )
}

function rowsOf({ before, after, ratio }: Change): [what: string, from: string, to: string][] {
  const rows: [string, string, string][] = [
    [
      'typical (p50)',
      `${shownMs(before.p50_ms)} ms`,
      `${shownMs(after.p50_ms)} ms, ${times(ratio)}`
    ],
    ['slow (p95)', `${shownMs(before.p95_ms)} ms`, `${shownMs(after.p95_ms)} ms`],
    ['queries a request', shownQueries(before), shownQueries(after)],
    ['errors', String(before.error_count), String(after.error_count)]
  ]
  return rows.filter(([, from, to]) => from !== to)
}

/** What the figures say about the cause. */
function hintsOf({ before, after }: Change): string[] {
  const hints: string[] = []
  const queries = after.queries_per_request ?? 0
  if (queries > 3 * (before.queries_per_request ?? 0)) {
    hints.push('Many queries a request: a loop asks the database one row at a time.')
  }
  const [worst] = after.worst_requests
  const [part, ms] =
    Object.entries(worst?.breakdown_ms ?? {}).toSorted((a, b) => b[1] - a[1])[0] ?? []
  if (worst !== undefined && part !== undefined && ms !== undefined) {
    const took = `${shownMs(worst.duration_ms)} ms, ${shownMs(ms)} ms of them in`
    hints.push(`Its slowest request (${harmless(worst.request_id)}) took ${took}: ${part}.`)
  }
  return hints
}

function nameOf({ method, route }: EndpointFigures): string {
  return harmless(route === '_UNMATCHED' ? `${method} (no such page)` : `${method} ${route}`)
}

function shownQueries({ queries_per_request }: EndpointFigures): string {
  return (queries_per_request ?? 0).toFixed(1)
}

function times(ratio: number): string {
  return `${ratio < 10 ? ratio.toFixed(1) : ratio.toFixed(0)} times as long`
}

function shownMs(ms: number | null): string {
  if (ms === null) return '–'
  return ms < 10 ? ms.toFixed(2) : ms.toFixed(0)
}
