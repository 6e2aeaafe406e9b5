export { overload, overload as default } from './plugin.ts'
export type { OverloadState } from './plugin.ts'
export { optionsSchema } from './options.ts'
export type { OverloadOptions, RouteOverloadOptions } from './options.ts'
export type { Priority } from './priority.ts'
export {
  WORK_RESULTS,
  WorkDeadlineError,
  WorkPoolClosedError,
  WorkQueueFullError,
  WorkThreadError
} from './work/index.ts'
export type {
  JobContext,
  JobFunction,
  JobOptions,
  PoolFigures,
  TaskOptions,
  TransferItem,
  Work,
  WorkFigures,
  WorkOptions,
  WorkResult,
  WorkTaskOptions,
  WorkThreadOptions
} from './work/index.ts'
// keeps `app.vitals` typed for those who only import this package
export type { Vitals } from '@fastify-vitals/metrics'
