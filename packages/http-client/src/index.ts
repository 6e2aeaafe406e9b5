export { httpClient, httpClient as default } from './plugin.ts'
export { optionsSchema } from './options.ts'
export type {
  BudgetOptions,
  ClientOptions,
  ClientPolicyOptions,
  HttpClientOptions,
  OutlierOptions,
  SsrfGuardOptions,
  TlsOptions,
  UpstreamBreakerOptions
} from './option-types.ts'
export type { PresetName } from './presets.ts'
export type {
  CallBody,
  CallOptions,
  CallTimings,
  ClientResponse,
  HedgingOptions,
  HttpClient,
  HttpClients,
  QueryValue,
  ResponseBody,
  RetryOptions
} from './call-types.ts'
export {
  CallAbortedError,
  CallInvalidError,
  ClientClosedError,
  DeadlineError,
  HttpClientError,
  PoolFullError,
  UpstreamError,
  UpstreamTimeoutError
} from './errors.ts'
export type { UpstreamProblem, UpstreamWait, Whereabouts } from './errors.ts'
export { BlockedAddressError } from './policies/blocked-address-error.ts'
export type { BlockedReason } from './policies/blocked-address-error.ts'
// keeps `app.vitals` and `app.breaker` typed for those who only import this package
export type { Vitals } from '@fastify-vitals/metrics'
export type { Breakers } from '@fastify-vitals/circuit-breaker'
