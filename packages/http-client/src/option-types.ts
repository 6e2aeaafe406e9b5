import type { BreakerPolicyOptions } from '@fastify-vitals/circuit-breaker'
import type { HedgingOptions, RetryOptions } from './call-types.ts'
import type { PresetName } from './presets.ts'

/** What goes to `tls.connect`, such as `ca`, `cert`, `key`, `servername`. */
export type TlsOptions = Readonly<Record<string, unknown>>

export type UpstreamBreakerOptions = Omit<
  BreakerPolicyOptions,
  'timeoutMs' | 'isFailure' | 'maxConcurrent' | 'maxQueue' | 'queueTimeoutMs'
>

export interface BudgetOptions {
  ratio?: number
  minPerSecond?: number
}

export interface OutlierOptions {
  consecutiveFailures?: number
  baseEjectionMs?: number
  maxEjectionMs?: number
  maxEjectedShare?: number
}

export interface SsrfGuardOptions {
  allow?: readonly string[]
}

/** All of a client but where its upstreams are. */
export interface ClientPolicyOptions {
  preset?: PresetName
  connections?: number
  maxQueue?: number
  queueTimeoutMs?: number
  maxIdlePerOrigin?: number
  idleTimeoutMs?: number
  connectTimeoutMs?: number
  headersTimeoutMs?: number
  bodyTimeoutMs?: number
  timeoutMs?: number
  maxResponseBytes?: number
  tls?: TlsOptions
  retry?: false | RetryOptions
  retryBudget?: BudgetOptions
  hedge?: false | HedgingOptions
  breaker?: false | UpstreamBreakerOptions
  outlierEjection?: false | OutlierOptions
  ssrfGuard?: false | SsrfGuardOptions
  inheritDeadline?: boolean
  sendDeadline?: boolean
  abortWithRequest?: boolean
  deadlineHeader?: string
  forwardTrace?: boolean
  requestIdHeader?: string
  slowUpstreamMs?: number
}

/** A client. */
export interface ClientOptions extends ClientPolicyOptions {
  origins: readonly string[]
}

/** Options of `@fastify-vitals/http-client`. */
export interface HttpClientOptions {
  clients?: Readonly<Record<string, ClientOptions>>
  defaults?: ClientPolicyOptions
  maxClients?: number
  maxIdle?: number
  followRequests?: boolean
  closeGraceMs?: number
}

type Optional = 'maxIdlePerOrigin' | 'maxResponseBytes' | 'tls'
type Grouped = 'retry' | 'retryBudget' | 'hedge' | 'breaker' | 'outlierEjection' | 'ssrfGuard'

export type ResolvedRetry = Readonly<Required<RetryOptions>>
export type ResolvedHedging = Readonly<Required<HedgingOptions>>

/** The options of a client with every default in place. */
export type ResolvedClientOptions = Readonly<
  Required<Omit<ClientOptions, Optional | Grouped>> & Pick<ClientOptions, Optional>
> & {
  readonly retry: false | ResolvedRetry
  readonly retryBudget: Readonly<Required<BudgetOptions>>
  readonly hedge: false | ResolvedHedging
  readonly breaker: false | UpstreamBreakerOptions
  readonly outlierEjection: false | Readonly<Required<OutlierOptions>>
  readonly ssrfGuard: false | Readonly<Required<SsrfGuardOptions>>
}

export type ResolvedHttpClientOptions = Readonly<
  Required<Omit<HttpClientOptions, 'maxIdle' | 'clients' | 'defaults'>>
> & { readonly maxIdle?: number }
