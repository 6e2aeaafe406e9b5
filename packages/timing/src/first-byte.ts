import type { RequestRecord } from '@fastify-vitals/metrics'

/**
 * Notes when the first byte of a streamed reply is written, whoever writes it: the response's own
 * `write` is replaced until it is called, for this response only.
 */
export function watchFirstByte(record: RequestRecord): void {
  const { raw } = record.reply
  record.bytesBefore = record.request.raw.socket?.bytesWritten ?? 0
  const { write } = raw
  raw.write = function firstWrite(this: typeof raw, ...args: Parameters<typeof write>) {
    raw.write = write
    record.firstByteMs = performance.now()
    return write.apply(this, args)
  } as typeof write
}
