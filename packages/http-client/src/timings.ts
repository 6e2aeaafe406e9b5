import type { CallTimings } from './call-types.ts'

/** What of an attempt's time is known so far. Plain fields, so that it can be logged. */
export class Timings implements CallTimings {
  queueMs = 0
  connectMs = 0
  firstByteMs = 0
  bodyMs: number | undefined = undefined
  totalMs = 0
}
