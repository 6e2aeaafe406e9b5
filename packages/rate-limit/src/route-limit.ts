import type { FastifyReply, FastifyRequest } from 'fastify'
import type { LimitedKeys } from './limited-keys.ts'
import type { WriteHeaders } from './limit-headers.ts'
import type { Limiter } from './limiter.ts'
import type { LocalBuckets } from './local-buckets.ts'
import type { RouteCounters } from './rate-limit-metrics.ts'
import type { Refuser } from './refuser.ts'
import type { Read } from './request-reader.ts'
import type { Verdict } from './verdict.ts'

/** What is decided before any limit is asked. */
export type Admission = 'limit' | 'skip' | 'deny'

/** What the limit of one route consists of. */
export interface RouteLimitParts {
  readonly limiter: Limiter
  readonly counters: RouteCounters
  readonly key: Read<string>
  readonly cost: Read<number> | number
  readonly isDryRun: boolean
  readonly writeHeaders: WriteHeaders | undefined
  /** `undefined` when there are no lists, and nobody to ask. */
  readonly admit: Read<Admission> | undefined
  readonly refuser: Refuser
  readonly limitedKeys: LimitedKeys
}

type Done = () => void

/** A hook that lets a request go on by calling `done`, or answers it. */
export type LimitHookFunction = (request: FastifyRequest, reply: FastifyReply, done: Done) => void

/** The hook of one route: what can be decided once is decided here, not at each request. */
export function limitHook(parts: RouteLimitParts): LimitHookFunction {
  const { limiter } = parts
  const judge =
    limiter.parts.kind === 'buckets' ? judgeNow(parts, limiter.parts.buckets) : judgeLater(parts)
  return parts.admit === undefined ? judge : admitFirst(parts, parts.admit, judge)
}

function judgeNow(parts: RouteLimitParts, buckets: LocalBuckets): LimitHookFunction {
  const { limiter, key, cost, counters, writeHeaders } = parts
  return function limitRequest(request, reply, done) {
    const ofKey = key(request)
    const ofCost = typeof cost === 'number' ? cost : cost(request)
    const verdict = limiter.takeNow(buckets, ofKey, ofCost)
    if (!verdict.isAllowed) return refuse(parts, ofKey, verdict, request, reply, done)
    counters.allowed.add()
    if (writeHeaders !== undefined) writeHeaders(reply, verdict)
    done()
  }
}

function judgeLater(parts: RouteLimitParts): LimitHookFunction {
  const { limiter, key, cost } = parts
  return function limitRequestLater(request, reply, done) {
    const call = { key: key(request), cost: typeof cost === 'number' ? cost : cost(request) }
    limiter.take(request, call, (verdict) => settle(parts, call.key, verdict, request, reply, done))
  }
}

function settle(
  parts: RouteLimitParts,
  key: string,
  verdict: Verdict,
  request: FastifyRequest,
  reply: FastifyReply,
  done: Done
): void {
  const { counters, writeHeaders } = parts
  if (verdict.isDegraded) counters.degraded.add()
  if (!verdict.isAllowed) return refuse(parts, key, verdict, request, reply, done)
  counters.allowed.add()
  if (writeHeaders !== undefined) writeHeaders(reply, verdict)
  done()
}

function refuse(
  { counters, limitedKeys, isDryRun, writeHeaders, refuser, limiter }: RouteLimitParts,
  key: string,
  verdict: Verdict,
  request: FastifyRequest,
  reply: FastifyReply,
  done: Done
): void {
  limitedKeys.add(key)
  if (isDryRun) {
    counters.would_limit.add()
    return done()
  }
  counters.limited.add()
  if (writeHeaders !== undefined) writeHeaders(reply, verdict)
  refuser.limited(request, reply, verdict, limiter.policies)
}

function admitFirst(
  { counters, refuser }: RouteLimitParts,
  admit: Read<Admission>,
  judge: LimitHookFunction
): LimitHookFunction {
  return function admitRequest(request, reply, done) {
    const admission = admit(request)
    if (admission === 'limit') return judge(request, reply, done)
    if (admission === 'deny') {
      counters.denied.add()
      return refuser.denied(request, reply)
    }
    counters.skipped.add()
    done()
  }
}
