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
  readonly queries_per_request: number | null
  readonly worst_requests: readonly {
    readonly request_id: string
    readonly duration_ms: number
    readonly breakdown_ms: Readonly<Record<string, number>>
  }[]
}

/** An endpoint before and after. */
export interface Change {
  readonly before: EndpointFigures
  readonly after: EndpointFigures
  /** How many times as long its typical request takes. */
  readonly ratio: number
  /** Milliseconds that its visitors wait longer in all, every second. */
  readonly costMs: number
}

const WORTH_TELLING = 1.5
/** Less is not felt by anybody, and may well be chance. */
const LEAST_MS = 0.5

/**
 * Endpoints whose typical request takes at least half as long again; what costs their visitors most
 * comes first.
 */
export function changesOf(
  before: readonly EndpointFigures[],
  after: readonly EndpointFigures[]
): Change[] {
  return after
    .flatMap((now) => {
      const then = before.find(({ method, route }) => method === now.method && route === now.route)
      if (now.p50_ms === null || !then?.p50_ms) return []
      const longerMs = now.p50_ms - then.p50_ms
      const ratio = now.p50_ms / then.p50_ms
      if (ratio < WORTH_TELLING || longerMs < LEAST_MS) return []
      return [{ before: then, after: now, ratio, costMs: longerMs * now.requests_per_second }]
    })
    .toSorted((a, b) => b.costMs - a.costMs)
}
