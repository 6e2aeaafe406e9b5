import { RouteHooks, pathFilter } from '@fastify-vitals/metrics'
import type { FastifyRequest, RouteOptions, onRequestHookHandler } from 'fastify'
import { resolveRouteOptions } from './options.ts'
import type { ResolvedOverloadOptions } from './options.ts'
import type { Overload, Place } from './overload.ts'
import type { Partition } from './partition.ts'
import { NORMAL, rankOf } from './priority.ts'

/** Told of a callback that threw, or gave what is not known. */
export type ReportFailure = (callback: string, error: unknown) => void

/** Puts each route that is not exempt behind the door, with a hook made once for it. */
export class ProtectedRoutes {
  readonly #overload: Overload
  readonly #options: ResolvedOverloadOptions
  readonly #partitions: ReadonlyMap<string, Partition>
  readonly #rest: Partition
  readonly #isExempt: (url: string) => boolean
  readonly #onFailure: ReportFailure
  readonly #hooks = new RouteHooks('onRequest')

  /** @param rest where those belong that belong nowhere else */
  constructor(
    overload: Overload,
    options: ResolvedOverloadOptions,
    partitions: ReadonlyMap<string, Partition>,
    rest: Partition,
    onFailure: ReportFailure
  ) {
    this.#overload = overload
    this.#options = options
    this.#partitions = partitions
    this.#rest = rest
    this.#isExempt = pathFilter(options.exempt)
    this.#onFailure = onFailure
  }

  /** @throws VitalsOptionError for a `config.overload` it can't work with */
  adopt(route: RouteOptions): void {
    const name = `${[route.method].flat().join('|')} ${route.url}`
    const given: unknown = route.config?.overload
    const place = this.#placeOf(name, given)
    if (place === undefined || (given === undefined && this.#isExempt(route.url))) return
    // the HEAD route that Fastify makes of a GET comes with its hooks
    if (!this.#hooks.isOn(route)) this.#hooks.put(route, this.#hookFor(place))
  }

  #placeOf(route: string, given: unknown): Place | undefined {
    const resolved = resolveRouteOptions(route, given, this.#options.partitions)
    if (resolved === undefined) return undefined
    return {
      rank: rankOf(resolved.priority) ?? NORMAL,
      partition: this.#partitions.get(resolved.partition ?? '') ?? this.#rest,
      teaches: resolved.learn
    }
  }

  #hookFor(place: Place): onRequestHookHandler {
    const overload = this.#overload
    if (this.#options.priority === undefined && this.#options.partition === undefined) {
      return function letIn(request, reply, done) {
        overload.receive(place, request, reply, done)
      }
    }
    const placeFor = (request: FastifyRequest): Place => this.#ofCaller(place, request)
    return function letInByCaller(request, reply, done) {
      overload.receive(placeFor(request), request, reply, done)
    }
  }

  #ofCaller(place: Place, request: FastifyRequest): Place {
    const { priority, partition } = this.#options
    const rank = this.#asked('priority', priority, request, rankOf)
    const named = this.#asked('partition', partition, request, (name) =>
      this.#partitions.get(name as string)
    )
    return {
      rank: rank ?? place.rank,
      partition: named ?? place.partition,
      teaches: place.teaches
    }
  }

  /** Asks a function of the user's, which may throw or give nonsense. */
  #asked<Found>(
    name: string,
    callback: ((request: FastifyRequest) => unknown) | undefined,
    request: FastifyRequest,
    find: (answer: unknown) => Found | undefined
  ): Found | undefined {
    if (callback === undefined) return undefined
    try {
      const answer = callback(request)
      if (answer === undefined) return undefined
      const found = find(answer)
      if (found === undefined) this.#onFailure(name, new Error(`it gave ${JSON.stringify(answer)}`))
      return found
    } catch (error) {
      this.#onFailure(name, error)
      return undefined
    }
  }
}
