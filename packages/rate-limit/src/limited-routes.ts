import { UNMATCHED, VitalsOptionError, guarded, pathFilter } from '@fastify-vitals/metrics'
import type { FastifyRequest, RouteOptions } from 'fastify'
import { addressList } from './address-list.ts'
import type { LimitedKeys } from './limited-keys.ts'
import { headerWriter } from './limit-headers.ts'
import type { Limiter } from './limiter.ts'
import type { Limiters } from './limiters.ts'
import { NAME, policiesOf, resolveRouteOptions } from './options.ts'
import type {
  KeySource,
  ResolvedLimitOptions,
  ResolvedRateLimitOptions,
  RouteLimitOptions
} from './options.ts'
import { resolvePolicies } from './policy.ts'
import type { RateLimitMetrics } from './rate-limit-metrics.ts'
import { Refuser } from './refuser.ts'
import { costReader, keyReader } from './request-reader.ts'
import type { Identify, OnBadCallback, Read } from './request-reader.ts'
import { limitHook } from './route-limit.ts'
import type { Admission, LimitHookFunction } from './route-limit.ts'

const DEFAULT_PER_SECOND = 100

/** What all routes need of the app. */
export interface RouteSurroundings {
  readonly limiters: Limiters
  readonly metrics: RateLimitMetrics
  readonly limitedKeys: LimitedKeys
  readonly identify: Identify
  /** Is shown the requests that are limited by address. */
  readonly look: (request: FastifyRequest) => void
  readonly onBad: OnBadCallback
}

interface Group {
  readonly limiter: Limiter
  readonly options: ResolvedLimitOptions
}

/** Puts limits on routes: the app's own, those of a group, or those of the route. */
export class LimitedRoutes {
  readonly #options: ResolvedRateLimitOptions
  readonly #app: RouteSurroundings
  readonly #isSkipped: (url: string) => boolean
  readonly #admit: Read<Admission> | undefined
  readonly #refuser: Refuser
  readonly #global: Group
  readonly #groups: ReadonlyMap<string, Group>

  /** @throws VitalsOptionError */
  constructor(options: ResolvedRateLimitOptions, app: RouteSurroundings) {
    this.#options = options
    this.#app = app
    this.#isSkipped = pathFilter(options.skipPaths)
    this.#admit = admission(options, app.onBad)
    this.#refuser = new Refuser(options.problem, app.onBad)
    const own = policiesOf(NAME, options) ?? [{ requestsPerSecond: DEFAULT_PER_SECOND }]
    this.#global = {
      limiter: app.limiters.add('global', resolvePolicies(NAME, 'policies', own)),
      options
    }
    checkCost(NAME, options, this.#global.limiter)
    this.#groups = new Map(
      Object.entries(options.groups ?? {}).map(([name, group]) => [name, this.#group(name, group)])
    )
  }

  /** The hook of a declared route; `undefined` when it has no limit. */
  hookOf(route: RouteOptions): LimitHookFunction | undefined {
    const config: unknown = route.config?.rateLimit
    if (config === false || this.#isSkipped(route.url)) return undefined
    if (config === undefined || config === true) {
      if (!this.#options.global && config !== true) return undefined
      return this.#hook(route.url, this.#global)
    }
    const name = `${[route.method].flat().join(',')} ${route.url}`
    const own = resolveRouteOptions(name, config)
    return this.#hook(route.url, this.#limitOf(name, own))
  }

  /** The hook of requests that match no route. */
  get notFoundHook(): LimitHookFunction | undefined {
    const { global, notFound } = this.#options
    return global && notFound ? this.#hook(UNMATCHED, this.#global) : undefined
  }

  #group(name: string, options: ResolvedLimitOptions): Group {
    const where = `${NAME}: groups.${name}`
    const policies = policiesOf(where, options)
    if (policies === undefined) {
      throw new VitalsOptionError(where, 'policies', 'must be given, or requestsPerSecond')
    }
    const resolved = resolvePolicies(where, 'policies', policies)
    const limiter = this.#app.limiters.add(`group:${name}`, resolved)
    checkCost(where, options, limiter)
    return { limiter, options: { ...this.#options, ...options } }
  }

  /** The limiter that a route asked for, and the options that hold for it. */
  #limitOf(route: string, own: Readonly<RouteLimitOptions>): Group {
    const where = `${NAME}: config.rateLimit of ${route}`
    const policies = policiesOf(where, own)
    const base = own.group === undefined ? this.#global : this.#groups.get(own.group)
    if (base === undefined) {
      const known = [...this.#groups.keys()].join(', ') || 'none is declared'
      throw new VitalsOptionError(where, 'group', `must be one of ${known}, got "${own.group}"`)
    }
    if (own.group !== undefined && policies !== undefined) {
      throw new VitalsOptionError(where, 'group', 'has policies already, got others beside it')
    }
    const limiter =
      policies === undefined
        ? base.limiter
        : this.#app.limiters.add(route, resolvePolicies(where, 'policies', policies))
    const options = { ...base.options, ...own }
    checkCost(where, options, limiter)
    return { limiter, options }
  }

  #hook(url: string, { limiter, options }: Group): LimitHookFunction {
    const { metrics, limitedKeys, onBad } = this.#app
    const key: KeySource = options.key ?? 'ip'
    const { ipv6SubnetBits } = this.#options
    return limitHook({
      limiter,
      counters: metrics.countersOf(url),
      key: keyReader(key, { ...this.#app, ipv6SubnetBits }),
      cost: costReader(options.cost ?? 1, onBad),
      isDryRun: options.dryRun ?? false,
      writeHeaders: headerWriter(this.#options.headers, limiter.policies),
      admit: this.#admit,
      refuser: this.#refuser,
      limitedKeys
    })
  }
}

/** @throws VitalsOptionError for a cost that no policy would ever grant */
function checkCost(where: string, { cost }: ResolvedLimitOptions, limiter: Limiter): void {
  if (typeof cost !== 'number' || cost <= limiter.maxCost) return
  throw new VitalsOptionError(
    where,
    'cost',
    `must be at most ${limiter.maxCost}, which is all that its limit has at once, got ${cost}`
  )
}

/** What the lists and `skip` say; `undefined` when there are none. */
function admission(
  { allowList, denyList, skip }: ResolvedRateLimitOptions,
  onBad: OnBadCallback
): Read<Admission> | undefined {
  const isAllowed = addressList(NAME, 'allowList', allowList)
  const isDenied = addressList(NAME, 'denyList', denyList)
  const mayGo = skip && guarded(skip, false, (error) => onBad('skip', error))
  if (isAllowed === undefined && isDenied === undefined && mayGo === undefined) return undefined
  return (request) => {
    const ip = request.ip ?? ''
    if (isDenied?.(ip) === true) return 'deny'
    if (isAllowed?.(ip) === true || mayGo?.(request) === true) return 'skip'
    return 'limit'
  }
}
