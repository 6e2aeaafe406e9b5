import { createRequire } from 'node:module'
import { VitalsDeclarationError } from '@fastify-vitals/metrics'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import type { Policy } from './policy.ts'
import type { Verdict } from './verdict.ts'
import { WindowStore } from './window-store.ts'

/** What a request asks of its limiter. */
export interface LimitCall {
  readonly key: string
  readonly cost: number
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What this request asks of fixed windows; `null` where there are none. */
    rateLimitCall: LimitCall | null
  }
}

interface Judgement {
  readonly isExceeded: boolean
  readonly remaining: number
  readonly ttl: number
}

/** The part of @fastify/rate-limit that is used here. Its own types would claim `config.rateLimit`. */
interface RateLimitHost {
  createRateLimit(options: object): Check
}

type Callback = (error: Error | null, result?: { current: number; ttl: number }) => void
type Check = (request: FastifyRequest) => Promise<Judgement>
export type MakeCheck = (policy: Policy, store: WindowStore) => Check

const fastifyRateLimit = createRequire(import.meta.url)(
  '@fastify/rate-limit'
) as FastifyPluginAsync<{ global: boolean; store: unknown }>

/** What `child` is given: the options of a limiter, our own among them. */
interface StoreOptions {
  readonly windows?: WindowStore
}

/**
 * Our windows as a store of @fastify/rate-limit. Its own holds 5 000 keys, and who floods it with
 * others resets the count of a victim.
 */
class PolicyStore {
  readonly #windows: WindowStore | undefined

  constructor({ windows }: StoreOptions) {
    this.#windows = windows
  }

  /** @param call what our `keyGenerator` returned, which is handed on as it is */
  incr(call: unknown, callback: Callback): void {
    const { key, cost } = call as LimitCall
    callback(null, this.#windows!.take(key, cost, performance.now()))
  }

  child(options: StoreOptions): PolicyStore {
    return new PolicyStore(options)
  }
}

/**
 * Registers @fastify/rate-limit in a scope of its own, where it touches no routes.
 * @returns what makes its limiters
 */
export async function fixedWindowMaker(app: FastifyInstance): Promise<MakeCheck> {
  app.decorateRequest('rateLimitCall', null)
  let make: RateLimitHost['createRateLimit'] | undefined
  if (!app.hasDecorator('createRateLimit')) {
    await app.register(async (scope) => {
      await scope.register(fastifyRateLimit, { global: false, store: PolicyStore })
      const host = scope as unknown as RateLimitHost
      make = (options) => host.createRateLimit(options)
    })
  }
  return (policy, windows) => {
    if (make === undefined) {
      throw new VitalsDeclarationError(
        '@fastify/rate-limit is registered here too, so fixed windows would share its store; use one of both'
      )
    }
    return make({
      max: policy.size,
      timeWindow: policy.windowMs,
      keyGenerator: callOf,
      windows
    })
  }
}

function callOf({ rateLimitCall }: FastifyRequest): LimitCall | null {
  return rateLimitCall
}

interface PolicyWindow {
  readonly place: number
  readonly size: number
  readonly store: WindowStore
  readonly check: Check
}

/** The fixed windows of one limiter. */
export class FixedWindows {
  readonly stores: readonly WindowStore[]
  readonly #policies: readonly PolicyWindow[]

  constructor(policies: readonly Policy[], maxKeys: number, make: MakeCheck) {
    this.#policies = policies.flatMap((policy, place) => {
      if (policy.kind !== 'fixed-window') return []
      const store = new WindowStore(policy.size, policy.windowMs, maxKeys)
      return [{ place, size: policy.size, store, check: make(policy, store) }]
    })
    this.stores = this.#policies.map(({ store }) => store)
  }

  get isEmpty(): boolean {
    return this.#policies.length === 0
  }

  /** Takes the cost in every window, or in none. */
  take(request: FastifyRequest, call: LimitCall, decide: (verdict: Verdict) => void): void {
    request.rateLimitCall = call
    const first = this.#policies[0]!
    // the way of most: one promise less than through an asynchronous function of our own
    if (this.#policies.length > 1) void this.#takeAll(request, call).then(decide)
    else void first.check(request).then((judgement) => decide(verdictOf(judgement, first)))
  }

  async #takeAll(request: FastifyRequest, call: LimitCall): Promise<Verdict> {
    let scarcest: Verdict | undefined
    for (const policy of this.#policies) {
      const verdict = verdictOf(await policy.check(request), policy)
      if (!verdict.isAllowed) {
        this.giveBack(call, policy)
        return verdict
      }
      if (scarcest === undefined || isScarcer(verdict, policy.size, scarcest, this.#sizeOf)) {
        scarcest = verdict
      }
    }
    return scarcest!
  }

  /** Gives back what was taken, in the windows before `until`, or in all. */
  giveBack({ key, cost }: LimitCall, until?: PolicyWindow): void {
    for (const policy of this.#policies) {
      if (policy === until) return
      policy.store.giveBack(key, cost)
    }
  }

  forget(key: string): boolean {
    return this.stores.filter((store) => store.remove(key)).length > 0
  }

  readonly #sizeOf = (place: number): number =>
    this.#policies.find((policy) => policy.place === place)!.size
}

function verdictOf({ isExceeded, remaining, ttl }: Judgement, { place }: PolicyWindow): Verdict {
  return {
    isAllowed: !isExceeded,
    policy: place,
    remaining,
    resetMs: ttl,
    waitMs: isExceeded ? ttl : 0,
    isDegraded: false
  }
}

function isScarcer(
  one: Verdict,
  size: number,
  other: Verdict,
  sizeOf: (place: number) => number
): boolean {
  return one.remaining / size < other.remaining / sizeOf(other.policy)
}
