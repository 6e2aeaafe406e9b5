import { pipeline } from 'node:stream'
import type { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { ZipStream } from './codecs.ts'
import type { RouteMeter } from './compression-metrics.ts'
import type { Encoder } from './encoder.ts'

/**
 * Compresses bodies that are streams, by zlib itself and not through @fastify/compress: that sends a
 * body whose start merely looks like gzip or deflate ("80 percent" does) as it is under a header that
 * says br, and leaves zlib's memory to the garbage collector when the client goes away.
 */
export class StreamCompressor {
  #open = 0

  /** Streams whose zlib memory is in use. */
  get open(): number {
    return this.#open
  }

  compress(source: Readable, encoder: Encoder, reply: FastifyReply, meter: RouteMeter): ZipStream {
    const zip = encoder.stream()
    const bytesAfter = countOutput(zip)
    this.#open++
    zip.once('close', () => {
      this.#open--
      const before = zip.bytesWritten
      meter.of(encoder.encoding).count(before, bytesAfter(), encoder.cost.expectedMs(before), false)
    })
    // also when a hook after ours sends something else
    reply.raw.once('close', () => zip.destroy())
    // an error before the first byte becomes a response of its own, which is not compressed
    source.once('error', () => unmark(reply))
    // Fastify tells of errors, it watches the stream that we return
    pipeline(source, zip, () => {})
    return zip
  }
}

function unmark(reply: FastifyReply): void {
  if (reply.raw.headersSent) return
  reply.removeHeader('content-encoding')
  reply.raw.removeHeader('content-encoding')
}

/** A `data` listener would make it flow before anybody reads. */
function countOutput(zip: ZipStream): () => number {
  let bytes = 0
  const push = zip.push.bind(zip)
  zip.push = (chunk: Buffer | null, ...rest) => {
    bytes += chunk?.length ?? 0
    return push(chunk, ...rest)
  }
  return () => bytes
}
