import type { FastifyRequest, RouteOptions } from 'fastify'
import { watchReply } from './watch-reply.ts'
import { OTHER } from '../series-labels.ts'

/** What an app wrote into a route's `config`; each plugin knows its own part. */
type RouteConfig = Readonly<Record<string, unknown>>

/** One method of one declared route, or all requests of one method that matched none. */
export interface Route {
  /** Dense, from 0: plugins keep what they know of a route in an array at this place. */
  readonly index: number
  /** Upper case; `_OTHER` for methods that are not well known, on requests that matched nothing. */
  readonly method: string
  /** Pattern, such as `/orders/:id`, prefixes included; `_UNMATCHED` where no route matched. */
  readonly url: string
  readonly config: RouteConfig
  /** How many of its next requests are watched in detail. */
  watched: number
}

/** A new route is watched for so many requests, and again whenever one turns out interesting. */
export const WATCHED_REQUESTS = 100

/** Label of requests that matched no route: what clients make up must not become series. */
export const UNMATCHED = '_UNMATCHED'

const KNOWN_METHODS = new Set(
  'GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT QUERY'.split(' ')
)

/** All routes of an app, each with a number. Bounded by what the app declares. */
export class RouteTable {
  readonly routes: Route[] = []
  readonly #byMethod = new Map<string, Map<string, Route>>()

  /** Makes the handler of a declared route tell its requests which route they are on. */
  adopt(options: RouteOptions): void {
    const methods = [options.method].flat()
    const routes = new Map(
      methods.map((method) => [method, this.#route(method, options.url, { ...options.config })])
    )
    const [first] = routes.values()
    const { handler } = options
    // Not `routeOptions`: it builds a new object at every access. The inner of two wraps is a GET
    // handler that also answers HEAD, so the first one to be called is right. A plugin that was
    // registered later may call a handler its own way (WebSocket does): then there is no record here.
    options.handler = function onKnownRoute(request, reply) {
      const record = request.vitalsRecord
      if (record?.knownRoute === null) {
        const route = routes.size === 1 ? first! : (routes.get(request.method) ?? first!)
        record.knownRoute = route
        if (route.watched > 0) {
          route.watched--
          watchReply(record)
        }
      }
      return handler.call(this, request, reply)
    }
  }

  /** The route of a request whose handler was not called, or was declared before we listened. */
  find(request: FastifyRequest): Route {
    const { url, config, method } = request.routeOptions
    if (url === undefined) {
      return this.#route(KNOWN_METHODS.has(request.method) ? request.method : OTHER, UNMATCHED, {})
    }
    const declared = [method].flat()
    const known = declared.includes(request.method) ? request.method : String(declared[0])
    return this.#route(known, url, { ...config })
  }

  #route(method: string, url: string, config: RouteConfig): Route {
    let byUrl = this.#byMethod.get(method)
    if (byUrl === undefined) {
      byUrl = new Map()
      this.#byMethod.set(method, byUrl)
    }
    let route = byUrl.get(url)
    if (route === undefined) {
      route = { index: this.routes.length, method, url, config, watched: WATCHED_REQUESTS }
      byUrl.set(url, route)
      this.routes.push(route)
    }
    return route
  }
}
