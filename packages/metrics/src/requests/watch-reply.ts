import { RequestDetail } from './request-record.ts'
import type { RequestRecord } from './request-record.ts'

/**
 * Notes when the reply is handed over and when a streamed body's first byte is written, whoever
 * does it. Hooks would cost every request; this replaces two methods of one request's objects.
 */
export function watchReply(record: RequestRecord): void {
  const detail = new RequestDetail()
  record.detail = detail
  const { reply } = record
  const { raw } = reply
  const send = reply.send.bind(reply)
  reply.send = function timedSend(...args: Parameters<typeof send>) {
    detail.replyMs = performance.now()
    try {
      return send(...args)
    } finally {
      detail.repliedMs = performance.now()
    }
  }
  const write = raw.write.bind(raw)
  raw.write = function firstWrite(...args: Parameters<typeof write>) {
    raw.write = write
    detail.bytesBefore = record.request.raw.socket?.bytesWritten ?? 0
    detail.firstByteMs = performance.now()
    return write(...args)
  } as typeof write
}
