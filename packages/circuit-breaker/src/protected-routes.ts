import { VitalsOptionError } from '@fastify-vitals/metrics'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { BreakerList } from './breaker-list.ts'
import type { BreakerPolicyOptions } from './breaker-types.ts'
import { NAME, resolveRouteOptions } from './options.ts'
import type { RouteBreakerOptions } from './options.ts'
import { RouteBreaker } from './route-breaker.ts'
import type { RouteCall } from './route-call.ts'

/** A route as `onRoute` hands it over. */
type DeclaredRoute = RouteOptions & { readonly prefix: string; readonly routePath: string }

interface Shared {
  readonly breaker: RouteBreaker
  readonly given: RouteBreakerOptions
}

/** The routes whose handlers run behind a breaker, by `config.circuitBreaker`. */
export class ProtectedRoutes {
  readonly #list: BreakerList
  readonly #defaults: Readonly<BreakerPolicyOptions>
  readonly #byName = new Map<string, Shared>()

  constructor(list: BreakerList, defaults: Readonly<BreakerPolicyOptions>) {
    this.#list = list
    this.#defaults = defaults
  }

  /**
   * Puts the handler of a route behind its breaker, if it asks for one.
   * @throws VitalsOptionError for options it can't work with, VitalsError when there are too many
   */
  adopt(route: DeclaredRoute): void {
    const config: unknown = route.config?.circuitBreaker
    if (config === undefined || config === false) return
    const breaker = this.#breakerOf(routeName(route), config)
    const { handler, errorHandler } = route
    const inner = { handler, hasErrorHandler: errorHandler !== undefined }
    route.handler = function behindBreaker(this: FastifyInstance, request, reply) {
      return breaker.handle(inner, this, request, reply)
    }
    route.onSend = [...[route.onSend ?? []].flat(), noteAnswer]
  }

  #breakerOf(route: string, config: unknown): RouteBreaker {
    const given = config === true ? {} : config
    if (typeof given !== 'object' || given === null) {
      throw new VitalsOptionError(
        `${NAME}: ${route}`,
        'config.circuitBreaker',
        `must be true, false or an object, got ${JSON.stringify(given)}`
      )
    }
    return this.#shared(route, given) ?? this.#make(route, given)
  }

  /** The breaker of an earlier route with the same name: HEAD of a GET, or on purpose. */
  #shared(route: string, given: RouteBreakerOptions): RouteBreaker | undefined {
    const { name = route } = given
    const shared = this.#byName.get(name)
    if (shared === undefined) return undefined
    if (isSame(shared.given, given) || isSame({ name }, given)) return shared.breaker
    throw new VitalsOptionError(
      `${NAME}: config.circuitBreaker of ${route}`,
      'name',
      `must be another one: "${name}" has different options on an earlier route`
    )
  }

  #make(route: string, given: RouteBreakerOptions): RouteBreaker {
    const options = resolveRouteOptions(route, this.#defaults, given)
    const { name = route } = given
    const breaker = this.#list.add(
      name,
      (meter, parts) => new RouteBreaker(name, options, meter, parts)
    )
    this.#byName.set(name, { breaker, given: { ...given } })
    return breaker
  }
}

/** Such as `GET /orders/:id`; HEAD is answered by GET's handler and goes by its name. */
function routeName(route: DeclaredRoute): string {
  const methods = [route.method].flat().map((each) => (each === 'HEAD' ? 'GET' : each))
  return `${[...new Set(methods)].join(',')} ${isTwin(route) ? route.prefix : route.url}`
}

/**
 * The HEAD of a scope's root, whose GET answers with and without a slash at its end: Fastify declares
 * that GET once and this one twice.
 */
function isTwin({ method, prefix, routePath, prefixTrailingSlash }: DeclaredRoute): boolean {
  return method === 'HEAD' && prefix !== '' && routePath === '/' && prefixTrailingSlash !== 'slash'
}

function isSame(one: RouteBreakerOptions, other: RouteBreakerOptions): boolean {
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]) as Set<
    keyof RouteBreakerOptions
  >
  return [...keys].every((key) => one[key] === other[key])
}

function noteAnswer(
  request: FastifyRequest,
  _reply: FastifyReply,
  payload: unknown,
  done: (error: null, payload: unknown) => void
): void {
  // null when the breaker refused, or something answered before the handler
  ;(request.breakerCall as RouteCall | null)?.answered()
  done(null, payload)
}
