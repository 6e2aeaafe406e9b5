import type { Attempt } from './attempt.ts'
import { SupersededError } from './blame.ts'
import { CallAbortedError, ClientClosedError, DeadlineError } from './errors.ts'
import type { CancelReason } from './lifetime.ts'

/** What an attempt fails with that is ended before its time. */
export function cancelled(
  attempt: Attempt,
  reason: CancelReason,
  cause: unknown,
  nowMs: number
): Error {
  const { call, upstream } = attempt
  const { where } = upstream
  if (reason === 'aborted') return new CallAbortedError(where, cause)
  if (reason === 'superseded') return new SupersededError()
  if (reason === 'closed') return new ClientClosedError(where)
  return new DeadlineError(call.allowedMs, where, isUpstreamLate(attempt, nowMs))
}

/** Whether the upstream, and not a queue or an impatient client, used most of the time there was. */
function isUpstreamLate({ call, dispatchMs, answerMs }: Attempt, nowMs: number): boolean {
  if (dispatchMs === 0 || answerMs !== 0) return false
  // anybody can send one that no upstream could keep
  if (call.isDeadlineInherited) return false
  return (nowMs - dispatchMs) * 2 >= nowMs - call.startMs
}
