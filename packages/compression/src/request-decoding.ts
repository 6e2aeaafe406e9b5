import type { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { decodeBody } from './body-decoder.ts'
import type { DecodeLimits, Decoded } from './body-decoder.ts'
import { codecOf } from './codecs.ts'
import type { Encoding, ZipStream } from './codecs.ts'
import type { CompressionMetrics } from './compression-metrics.ts'
import { parseContentEncoding } from './content-encoding.ts'
import { UnsupportedEncodingError } from './errors.ts'

export interface DecodingPolicy {
  readonly encodings: readonly Encoding[]
  readonly maxEncodings: number
  readonly limits: DecodeLimits
}

type Done = (error: Error | null, payload?: RequestPayload) => void

/** The `preParsing` hook of a route: decodes bodies that are encoded, within bounds. */
export function requestDecoding(
  { encodings, maxEncodings, limits }: DecodingPolicy,
  metrics: CompressionMetrics
): (request: FastifyRequest, reply: FastifyReply, raw: RequestPayload, done: Done) => void {
  const supported = new Set<string>(encodings)
  return function decodeRequest(request, reply, raw, done) {
    const header = request.headers['content-encoding']
    if (header === undefined) return done(null, raw)
    const named = parseContentEncoding(header, supported, maxEncodings)
    if (named === undefined) {
      metrics.decoded.with({ encoding: 'other', result: 'unsupported' }).add()
      return done(new UnsupportedEncodingError(encodings, maxEncodings))
    }
    const stages = named.toReversed().map((encoding) => codecOf(encoding).decompressStream())
    const [first, ...rest] = stages
    if (first === undefined) return done(null, raw)
    const decoded = decode(raw, [first, ...rest], named, limits, metrics)
    // Fastify may stop reading in the middle
    reply.raw.once('close', () => decoded.destroy())
    done(null, decoded)
  }
}

function decode(
  raw: RequestPayload,
  stages: readonly [ZipStream, ...ZipStream[]],
  named: readonly Encoding[],
  limits: DecodeLimits,
  metrics: CompressionMetrics
): Readable {
  const encoding = named.length === 1 ? named[0]! : 'several'
  return decodeBody(raw, stages, named.join(', '), limits, (settled: Decoded) => {
    const { result, bytesBefore, bytesAfter } = settled
    metrics.decoded.with({ encoding, result }).add()
    metrics.decodedBytes.with({ encoding, direction: 'in' }).add(bytesBefore)
    metrics.decodedBytes.with({ encoding, direction: 'out' }).add(bytesAfter)
  })
}
