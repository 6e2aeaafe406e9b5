export { timing, timing as default } from './plugin.ts'
export { optionsSchema } from './options.ts'
export type { Extractor, ServerTimingMode, TimingOptions } from './options.ts'
export { assertNoErrors, assertP95 } from './assertions.ts'
export { OUTCOMES, isFailure, outcomeOf } from './outcome.ts'
export type { Outcome, ResponseKind } from './outcome.ts'
// keeps `app.vitals` typed for those who only import this package
export type { Vitals } from '@fastify-vitals/metrics'
