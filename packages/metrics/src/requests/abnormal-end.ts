import type { Socket } from 'node:net'
import { http2Stream } from './http2-stream.ts'
import type { RequestRecord } from './request-record.ts'

/** Status of a request whose client went away (nginx' convention). */
export const CLIENT_CLOSED_REQUEST = 499

/**
 * The status to count for a response that was not sent to its end.
 *
 * The peer went away when its side of the socket ended or failed: 499. Otherwise we closed it
 * ourselves: because of what the peer sent (the parser's status), because a socket time-out ran out
 * (408), or because the handler or its stream broke (500).
 */
export function statusOfUnfinished(record: RequestRecord, nowMs: number): number {
  if (record.protocolStatus !== 0) return record.protocolStatus
  // HTTP/2: there is no socket of its own to ask, and only a peer gives a stream up
  if (http2Stream(record.reply.raw) !== undefined) return CLIENT_CLOSED_REQUEST
  const socket = record.request.raw.socket as Socket | null
  if (socket === null || socket.readableEnded || socket.errored !== null)
    return CLIENT_CLOSED_REQUEST
  const limit = socket.timeout ?? 0
  if (limit > 0 && nowMs - record.startMs >= limit) return 408
  return socket.destroyed || record.reply.raw.destroyed ? 500 : CLIENT_CLOSED_REQUEST
}
