import { Transform } from 'node:stream'
import type { Readable } from 'node:stream'
import type { ZipStream } from './codecs.ts'
import type { DecodeResult } from './compression-metrics.ts'
import { CorruptBodyError, DecodedBodyTooLargeError } from './errors.ts'

/** Small bodies may be as compressible as they like. */
const RATIO_JUDGED_FROM_BYTES = 1_048_576

export interface DecodeLimits {
  readonly maxBytes: number
  readonly maxRatio: number
}

/** What became of a body. */
export interface Decoded {
  readonly result: DecodeResult
  readonly bytesBefore: number
  readonly bytesAfter: number
}

type Settled = (decoded: Decoded) => void

/** The end of the chain: counts what comes out and refuses too much, before anybody keeps it. */
class Gate extends Transform {
  /** Read by Fastify, to compare with `Content-Length`. */
  receivedEncodedLength = 0
  receivedLength = 0
  readonly #first: ZipStream
  readonly #limits: DecodeLimits
  readonly #refuse: (result: DecodeResult, error: Error) => void

  /** @param first decoder, which knows how much it has consumed: less than what has come in */
  constructor(
    first: ZipStream,
    limits: DecodeLimits,
    refuse: (result: DecodeResult, error: Error) => void
  ) {
    super()
    this.#first = first
    this.#limits = limits
    this.#refuse = refuse
  }

  override _transform(
    chunk: Buffer,
    _encoding: string,
    done: (error: null, chunk: Buffer) => void
  ): void {
    this.receivedLength += chunk.length
    const { maxBytes, maxRatio } = this.#limits
    if (this.receivedLength > maxBytes) {
      this.#refuse('too_large', new DecodedBodyTooLargeError(`${maxBytes} bytes`))
    } else if (
      this.receivedLength > RATIO_JUDGED_FROM_BYTES &&
      this.receivedLength > this.#first.bytesWritten * maxRatio
    ) {
      this.#refuse('ratio', new DecodedBodyTooLargeError(`${maxRatio} bytes out of one byte in`))
    } else {
      done(null, chunk)
    }
  }
}

/**
 * Decodes a request body as it comes in, in bounded memory: backpressure reaches the socket. When it
 * is refused, nothing more is decoded and the rest of the request is thrown away as it comes, at
 * most `maxBytes` of it, so that the client gets to read the answer.
 *
 * @param stages decoders, the outermost encoding first
 * @param named the encodings, for errors
 */
export function decodeBody(
  raw: Readable,
  stages: readonly [ZipStream, ...ZipStream[]],
  named: string,
  limits: DecodeLimits,
  settled: Settled
): Readable {
  let isSettled = false
  const settle = (result: DecodeResult): void => {
    if (isSettled) return
    isSettled = true
    const { receivedEncodedLength: bytesBefore, receivedLength: bytesAfter } = gate
    settled({ result, bytesBefore, bytesAfter })
  }
  const refuse = (result: DecodeResult, error: Error): void => {
    settle(result)
    gate.destroy(error)
  }
  const gate = new Gate(stages[0], limits, refuse)
  // a body that nobody reads must not end the process
  gate.on('error', () => {})
  gate.once('end', () => settle('ok'))
  // after an error, and when Fastify stops reading by itself
  gate.once('close', () => {
    settle('aborted')
    raw.unpipe(stages[0])
    for (const stage of stages) stage.destroy()
    if (!raw.readableEnded) discard(raw, limits.maxBytes)
  })
  raw.on('data', (chunk: Buffer) => (gate.receivedEncodedLength += chunk.length))
  raw.once('close', () => {
    if (!raw.readableEnded) refuse('aborted', new CorruptBodyError(named, 'aborted'))
  })
  raw.on('error', (error) => refuse('aborted', error))
  for (const stage of stages) {
    stage.on('error', (error) => refuse('corrupt', new CorruptBodyError(named, error)))
  }
  const last = stages.reduce((from: Readable, stage) => from.pipe(stage), raw)
  last.pipe(gate)
  return gate
}

function discard(raw: Readable, mostBytes: number): void {
  let left = mostBytes
  raw.on('data', (chunk: Buffer) => {
    left -= chunk.length
    if (left < 0) raw.destroy()
  })
  raw.resume()
}
