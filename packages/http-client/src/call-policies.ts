import { resolveOptions } from '@fastify-vitals/metrics'
import type { Call } from './call.ts'
import type { CallOptions, HedgingOptions } from './call-types.ts'
import { HEDGING_DEFAULTS, NAME, RETRY_DEFAULTS } from './options.ts'
import type { ResolvedClientOptions, ResolvedHedging, ResolvedRetry } from './option-types.ts'
import { Hedge } from './policies/hedge.ts'
import type { RetryBudget } from './policies/retry-budget.ts'
import { IDEMPOTENT_METHODS } from './policies/retry-policy.ts'
import { hedgeSchema, retrySchema } from './policy-schema.ts'
import { RetryPlan } from './retry-plan.ts'

/** How one call is tried again and hedged; `undefined`: not. */
export interface CallPolicy {
  readonly retries: RetryPlan | undefined
  /** By what is known when an attempt begins; `undefined` while too little is. */
  readonly hedgeDelayMs: (() => number | undefined) | undefined
}

/** How calls are tried again and hedged: as their client does, or by options of their own. */
export class CallPolicies {
  /** Of all calls of the client: one by itself knows nothing of how long they take. */
  readonly hedge: Hedge
  readonly #options: ResolvedClientOptions
  readonly #random: () => number
  readonly #retries: RetryPlan | undefined

  constructor(options: ResolvedClientOptions, budget: RetryBudget, random: () => number) {
    this.#options = options
    this.#random = random
    if (options.retry !== false) this.#retries = new RetryPlan(options.retry, random)
    const { delayMs: delay, minDelayMs } = this.#hedging
    this.hedge = new Hedge({ delay, minDelayMs, budget })
  }

  /** @throws VitalsOptionError for options it can't work with */
  of(call: Call, given: CallOptions): CallPolicy {
    return { retries: this.#retriesOf(given), hedgeDelayMs: this.#hedgeDelayOf(call, given) }
  }

  get #hedging(): ResolvedHedging {
    return this.#options.hedge === false ? HEDGING_DEFAULTS : this.#options.hedge
  }

  #retriesOf({ retry }: CallOptions): RetryPlan | undefined {
    if (retry === undefined) return this.#retries
    if (retry === false) return undefined
    const base = this.#options.retry === false ? RETRY_DEFAULTS : this.#options.retry
    if (retry === true) return this.#retries ?? new RetryPlan(base, this.#random)
    const own = resolveOptions<ResolvedRetry>(`${NAME}: retry`, retrySchema, over(base, retry))
    return new RetryPlan(own, this.#random)
  }

  /** None for what can't be sent twice. */
  #hedgeDelayOf(call: Call, { hedge }: CallOptions): CallPolicy['hedgeDelayMs'] {
    const isWanted = hedge === undefined ? this.#options.hedge !== false : hedge !== false
    if (!isWanted || !call.isReplayable) return undefined
    if (!(call.isIdempotent ?? IDEMPOTENT_METHODS.includes(call.method))) return undefined
    const { delayMs: delay, minDelayMs } = this.#hedgingOf(hedge)
    return () => this.hedge.delayMs({ delay, minDelayMs })
  }

  #hedgingOf(given: boolean | HedgingOptions | undefined): ResolvedHedging {
    if (typeof given !== 'object') return this.#hedging
    return resolveOptions(`${NAME}: hedge`, hedgeSchema, over(this.#hedging, given))
  }
}

/** What is `undefined` was not given. */
function over(base: object, given: object): object {
  const own = Object.entries(given).filter(([, value]) => value !== undefined)
  return { ...base, ...Object.fromEntries(own) }
}
