import { harmless } from './terminal.ts'
import type { Terminal } from './terminal.ts'

/** What the shop says of one endpoint and one stretch of time. */
export interface EndpointFigures {
  readonly method: string
  readonly route: string
  readonly request_count: number
  readonly requests_per_second: number
  readonly p50_ms: number | null
  readonly p95_ms: number | null
  readonly p99_ms: number | null
  readonly error_count: number
  readonly outcomes: Readonly<Record<string, number>>
}

/** An endpoint before and after. */
interface Change {
  readonly name: string
  readonly beforeMs: number
  readonly afterMs: number
  readonly ratio: number
  /** Milliseconds that its visitors waited longer in all, every second. */
  readonly costMs: number
}

const WORTH_TELLING = 1.5
const COLUMNS = ['requests', 'per s', 'p50 ms', 'p95 ms', 'p99 ms', 'errors', 'hung up']

/** A table of all endpoints. */
export function printFigures(terminal: Terminal, figures: readonly EndpointFigures[]): void {
  const width = Math.max(8, ...figures.map((each) => nameOf(each).length))
  terminal.print(
    terminal.dim(
      `  ${'endpoint'.padEnd(width)} ${COLUMNS.map((name) => name.padStart(9)).join('')}`
    )
  )
  for (const each of figures.toSorted((a, b) => b.request_count - a.request_count)) {
    const cells = [
      String(each.request_count),
      each.requests_per_second.toFixed(1),
      shownMs(each.p50_ms),
      shownMs(each.p95_ms),
      shownMs(each.p99_ms),
      String(each.error_count),
      String(each.outcomes.aborted ?? 0)
    ]
    terminal.print(
      `  ${nameOf(each).padEnd(width)} ${cells.map((cell) => cell.padStart(9)).join('')}`
    )
  }
}

/** What got slower, what costs the visitors most first. */
export function printChanges(
  terminal: Terminal,
  before: readonly EndpointFigures[],
  after: readonly EndpointFigures[]
): void {
  const changes = changesOf(before, after)
  if (changes.length === 0) {
    terminal.print('  Nothing got noticeably slower.')
    return
  }
  for (const { name, beforeMs, afterMs, ratio } of changes) {
    terminal.print(
      `  ${terminal.red('slower')}  ${terminal.bold(name)}: half of its requests took ` +
        `${shownMs(beforeMs)} ms or less, now ${shownMs(afterMs)} ms (${ratio.toFixed(1)} times)`
    )
  }
}

/** Endpoints whose typical request takes at least half as long again. */
function changesOf(
  before: readonly EndpointFigures[],
  after: readonly EndpointFigures[]
): Change[] {
  return after
    .flatMap((now) => {
      const then = before.find((each) => nameOf(each) === nameOf(now))
      if (now.p50_ms === null || !then?.p50_ms) return []
      const ratio = now.p50_ms / then.p50_ms
      const costMs = (now.p50_ms - then.p50_ms) * now.requests_per_second
      return [{ name: nameOf(now), beforeMs: then.p50_ms, afterMs: now.p50_ms, ratio, costMs }]
    })
    .filter(({ ratio }) => ratio >= WORTH_TELLING)
    .toSorted((a, b) => b.costMs - a.costMs)
}

function nameOf({ method, route }: EndpointFigures): string {
  return harmless(route === '_UNMATCHED' ? `${method} (no such page)` : `${method} ${route}`)
}

function shownMs(ms: number | null): string {
  if (ms === null) return '–'
  return ms < 10 ? ms.toFixed(2) : ms.toFixed(0)
}
