import type { FastifyInstance, FastifyRequest } from 'fastify'
import { NAME } from './options.ts'

/** Of so many first requests it is looked at how they came. */
const LOOKED_AT = 100

/** Routes that were declared before a plugin are out of its reach, and nothing else would tell. */
export function warnOfEarlierRoutes(app: FastifyInstance): void {
  const routes = app.printRoutes({ commonPrefix: false })
  if (/\((?:[A-Z]+, )*[A-Z]+\)/.test(routes)) {
    app.log.warn(`${NAME}: these routes were declared before it and have no limit:\n${routes}`)
  }
}

/**
 * Limits by address are worth nothing when the address is the proxy's, or what the client says.
 * @returns what looks at a request; after the first ones it does nothing any more
 */
export function proxyWatch(app: FastifyInstance): (request: FastifyRequest) => void {
  let left = LOOKED_AT
  return (request) => {
    if (left === 0) return
    left--
    const problem = problemOf(request)
    if (problem === undefined) return
    left = 0
    app.log.warn(`${NAME}: ${problem}`)
  }
}

function problemOf(request: FastifyRequest): string | undefined {
  const forwarded = request.headers['x-forwarded-for']
  if (forwarded === undefined) return undefined
  if (request.ips === undefined) {
    return 'requests come through a proxy, but trustProxy is not set: all its clients share one limit. Set trustProxy to the address of the proxy'
  }
  const said = String(forwarded).split(',').length
  if (said < 2 || request.ips.length <= said) return undefined
  return 'trustProxy trusts every hop: clients can choose the address they are limited by. Set trustProxy to the addresses of your proxies'
}
