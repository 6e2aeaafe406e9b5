import { VitalsError } from '@fastify-vitals/metrics'
import type { FastifyInstance } from 'fastify'

interface EndpointFigures {
  readonly method: string
  readonly route: string
  readonly request_count: number
  readonly error_count: number
  readonly p95_ms: number | null
}

/**
 * For test suites: the p95 of an endpoint, or of every endpoint, is at most `maxMs`.
 *
 * @param route as in `GET /orders/:id`; left out, every endpoint
 * @throws VitalsError `VITALS_ASSERTION_FAILED` with the figures, also when nothing was requested
 */
export function assertP95(app: FastifyInstance, maxMs: number, route?: string): void {
  const slow = endpointsOf(app, route).filter(({ p95_ms }) => p95_ms !== null && p95_ms > maxMs)
  fail(
    slow,
    (each) =>
      `${each.method} ${each.route} has a p95 of ${each.p95_ms?.toFixed(1)} ms, allowed are ${maxMs} ms`
  )
}

/**
 * For test suites: no request of an endpoint, or of any, failed through us (5xx, time-outs).
 *
 * @param route as in `GET /orders/:id`; left out, every endpoint
 * @throws VitalsError `VITALS_ASSERTION_FAILED` with the figures, also when nothing was requested
 */
export function assertNoErrors(app: FastifyInstance, route?: string): void {
  const failing = endpointsOf(app, route).filter(({ error_count }) => error_count > 0)
  fail(
    failing,
    (each) =>
      `${each.method} ${each.route} failed ${each.error_count} of ${each.request_count} requests`
  )
}

function endpointsOf(app: FastifyInstance, route: string | undefined): EndpointFigures[] {
  const view = app.vitals.views.get('endpoints')!.read() as { endpoints: EndpointFigures[] }
  const found = view.endpoints.filter(
    (each) => route === undefined || `${each.method} ${each.route}` === route
  )
  if (found.length === 0) {
    const seen = view.endpoints.map((each) => `${each.method} ${each.route}`).join(', ') || 'none'
    throw failure(`${route ?? 'no endpoint'} saw no request; those that did: ${seen}`)
  }
  return found
}

function fail(wrong: readonly EndpointFigures[], tell: (each: EndpointFigures) => string): void {
  if (wrong.length > 0) throw failure(wrong.map(tell).join('; '))
}

function failure(message: string): VitalsError {
  return new VitalsError('VITALS_ASSERTION_FAILED', message)
}
