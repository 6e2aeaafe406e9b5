import type { CallWindow } from './call-window.ts'

export interface Thresholds {
  readonly failureThresholdPercentage: number
  readonly slowCallThresholdPercentage: number
  readonly minimumCalls: number
  /** `undefined`: failures in a row are not judged. */
  readonly consecutiveFailures?: number | undefined
}

/** Why a circuit with these calls should open; `undefined` when it should not. */
export function whyOpen(
  thresholds: Thresholds,
  window: CallWindow,
  consecutiveFailures: number
): string | undefined {
  if (consecutiveFailures >= (thresholds.consecutiveFailures ?? Infinity)) {
    return `${consecutiveFailures} calls in a row failed`
  }
  const { calls, failures, slowCalls } = window
  if (calls < thresholds.minimumCalls) return undefined
  if (failures * 100 >= thresholds.failureThresholdPercentage * calls) {
    return `${failures} of ${calls} calls failed`
  }
  if (slowCalls * 100 >= thresholds.slowCallThresholdPercentage * calls) {
    return `${slowCalls} of ${calls} calls were slow`
  }
  return undefined
}
