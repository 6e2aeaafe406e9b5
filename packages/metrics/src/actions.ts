import { VitalsError } from './errors.ts'
import type { Action } from './doors.ts'
import { memoryUsage } from './runtime/runtime-metrics.ts'

/** Collects garbage now, where Node was started with `--expose-gc`. */
export function gcAction(): Action {
  return {
    name: 'gc',
    description: 'Runs a full garbage collection (Node must run with --expose-gc)',
    run() {
      if (globalThis.gc === undefined) {
        throw new VitalsError(
          'VITALS_ACTION_UNAVAILABLE',
          'garbage can be collected on demand only when Node runs with --expose-gc'
        )
      }
      const before = memoryUsage().heap_used
      globalThis.gc()
      return { freed_bytes: Math.max(0, before - memoryUsage().heap_used) }
    }
  }
}

/** Forgets all figures: totals, distributions and history. */
export function resetAction(reset: () => void): Action {
  return {
    name: 'reset',
    description: 'Sets all counters and histograms to zero and forgets the history',
    run() {
      reset()
      return { reset: true }
    }
  }
}
