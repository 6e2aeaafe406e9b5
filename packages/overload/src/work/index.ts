export { addWork } from './add-work.ts'
export { workOptionsSchema } from './options.ts'
export type {
  ResolvedWorkOptions,
  WorkOptions,
  WorkTaskOptions,
  WorkThreadOptions
} from './options.ts'
export {
  WorkDeadlineError,
  WorkPoolClosedError,
  WorkQueueFullError,
  WorkThreadError
} from './errors.ts'
export type { Priority } from '../priority.ts'
export { WORK_RESULTS } from './work-types.ts'
export type {
  JobContext,
  JobFunction,
  JobOptions,
  PoolFigures,
  TaskOptions,
  TransferItem,
  Work,
  WorkFigures,
  WorkResult
} from './work-types.ts'
