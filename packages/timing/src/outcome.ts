import { CLIENT_CLOSED_REQUEST } from '@fastify-vitals/metrics'
import type { RequestRecord } from '@fastify-vitals/metrics'

/** How a request ended. */
export const OUTCOMES = ['success', 'client_error', 'server_error', 'aborted', 'timeout'] as const

export type Outcome = (typeof OUTCOMES)[number]

/** Fastify's code for a handler that took longer than its route's `handlerTimeout`. */
const HANDLER_TIMEOUT = 'FST_ERR_HANDLER_TIMEOUT'

/** @param status HTTP status; 499 when the client went away first */
export function outcomeOf(status: number, record?: Pick<RequestRecord, 'error'>): Outcome {
  if (status < 400) return 'success'
  if (status === CLIENT_CLOSED_REQUEST) return 'aborted'
  const timedOut = status === 408 || status === 504 || record?.error?.code === HANDLER_TIMEOUT
  if (timedOut) return 'timeout'
  return status < 500 ? 'client_error' : 'server_error'
}

/** Our fault: what counts as an error. A client that errs or leaves is not. */
export function isFailure(outcome: Outcome): boolean {
  return outcome === 'server_error' || outcome === 'timeout'
}

/** What a response was, beside an ordinary one: these last as long as somebody wants them to. */
export type ResponseKind = 'plain' | 'stream' | 'event_stream' | 'upgrade'

/** Told when it is over, by what was sent and asked for. */
export function kindOf(record: RequestRecord): ResponseKind {
  const { request, reply } = record
  if (record.isUpgrade) return 'upgrade'
  const hasLength = reply.getHeader('content-length') !== undefined
  const isWritten = reply.raw.chunkedEncoding || (record.detail?.firstByteMs ?? 0) > 0
  if (hasLength || !isWritten) return 'plain'
  const type = reply.getHeader('content-type') ?? request.headers.accept
  return String(type).startsWith('text/event-stream') ? 'event_stream' : 'stream'
}
