export { circuitBreaker, circuitBreaker as default, ensureBreakers } from './plugin.ts'
export { optionsSchema } from './options.ts'
export type { CircuitBreakerOptions, RouteBreakerOptions, RouteFallback } from './options.ts'
export { BREAKER_STATES, CALL_RESULTS } from './breaker-types.ts'
export type {
  Breaker,
  BreakerCall,
  BreakerControl,
  BreakerFigures,
  BreakerOptions,
  BreakerPolicyOptions,
  BreakerState,
  Breakers,
  CallResult,
  ForcedMode,
  IsFailure,
  MakeBreaker,
  Transition,
  TransitionListener
} from './breaker-types.ts'
export {
  BreakerOpenError,
  BreakerShutDownError,
  BreakerTimeoutError,
  BulkheadFullError
} from './errors.ts'
// keeps `app.vitals` typed for those who only import this package
export type { Vitals } from '@fastify-vitals/metrics'
