import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Choice, Negotiator } from './accept-encoding.ts'
import type { Encoding } from './codecs.ts'
import type { RouteMeter, SkipReason } from './compression-metrics.ts'
import type { Compressed, Compressor } from './compressor.ts'
import type { ContentTypes } from './content-types.ts'
import type { Encoder } from './encoder.ts'
import { becomeNotModified, tagResponse } from './entity-tags.ts'
import type { Load } from './load-level.ts'
import { padded } from './padding.ts'
import type { PayloadCache } from './payload-cache.ts'
import { accepted, addVary, markEncoded, untouchable } from './response-rules.ts'
import type { StreamCompressor } from './stream-compressor.ts'
import type { Trial } from './trial.ts'

/** What all routes share. */
export interface SharedParts {
  readonly compressor: Compressor
  readonly streams: StreamCompressor
  readonly cache: PayloadCache<Encoder> | undefined
  readonly load: () => Load
  readonly cheapest: (encoder: Encoder) => Encoder
}

/** What one route has decided when it was declared. */
export interface RoutePolicy {
  readonly encoders: ReadonlyMap<Encoding, Encoder>
  readonly negotiator: Negotiator
  readonly types: ContentTypes
  readonly minBytes: number
  readonly hasEtag: boolean
  readonly isCached: boolean
  readonly isSecret: boolean
  readonly paddingBytes: number
  /** Guarded: never throws. */
  readonly shouldCompress: ((request: FastifyRequest, reply: FastifyReply) => boolean) | undefined
  readonly meter: RouteMeter
  readonly trial: Trial
}

type Done = (error: Error | null, payload?: unknown) => void
type Body = string | Buffer

/** Bytes of UTF-16 text take at most so many as UTF-8. */
const MOST_BYTES_PER_UNIT = 3
const NOTHING_SAID: Choice = { encoding: undefined, refusesIdentity: false }

/** Compresses the responses of one route. */
export class ResponseCompression {
  readonly #policy: RoutePolicy
  readonly #shared: SharedParts

  constructor(policy: RoutePolicy, shared: SharedParts) {
    this.#policy = policy
    this.#shared = shared
  }

  send(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: Done): void {
    if (typeof payload === 'string') {
      const { minBytes } = this.#policy
      const isSmall = payload.length * MOST_BYTES_PER_UNIT < minBytes
      const bytes = isSmall ? payload.length : Buffer.byteLength(payload)
      this.#sendBody(request, reply, payload, bytes, done)
    } else if (payload === null || payload === undefined) {
      done(null, payload)
    } else if (Buffer.isBuffer(payload)) {
      this.#sendBody(request, reply, payload, payload.length, done)
    } else {
      this.#sendStream(request, reply, payload, done)
    }
  }

  #sendBody(
    request: FastifyRequest,
    reply: FastifyReply,
    body: Body,
    bytes: number,
    done: Done
  ): void {
    const { hasEtag, minBytes, meter } = this.#policy
    if (request.method === 'HEAD') return done(null, body)
    if (!hasEtag && bytes < minBytes && !this.#choice(request).refusesIdentity) {
      meter.skipSmall()
      return done(null, body)
    }
    const { digest, isKnown } = hasEtag
      ? tagResponse(request, reply, body)
      : { digest: undefined, isKnown: false }
    const reason = this.#reason(request, reply, bytes)
    if (isKnown) return this.#notModified(reply, done)
    if (reason !== undefined) return this.#skip(reason, body, bytes, done)
    this.#compress(request, reply, body, bytes, digest, done)
  }

  #notModified(reply: FastifyReply, done: Done): void {
    this.#policy.meter.countNotModified()
    becomeNotModified(reply)
    done(null, null)
  }

  #skip(reason: SkipReason, body: Body, bytes: number, done: Done): void {
    const { meter, trial } = this.#policy
    if (reason === 'small') meter.skipSmall()
    else meter.skip(reason, bytes)
    if (reason === 'type') trial.consider(body, bytes)
    done(null, body)
  }

  /** Why a body goes out as it is; in passing, `Vary` where that is up to the client. */
  #reason(request: FastifyRequest, reply: FastifyReply, bytes: number): SkipReason | undefined {
    const { types, minBytes, isSecret, paddingBytes, encoders } = this.#policy
    const choice = this.#choice(request)
    if (bytes < minBytes && !choice.refusesIdentity) return 'small'
    const reason = untouchable(reply, types)
    if (reason !== undefined) return reason
    if (isSecret && (paddingBytes === 0 || !encoders.has('gzip'))) return 'secret'
    addVary(reply)
    if (choice.encoding === undefined) return 'client'
    if (!this.#isWanted(request, reply)) return 'callback'
    const { compressor, load } = this.#shared
    return load() === 'severe' || compressor.isFull ? 'load' : undefined
  }

  #isWanted(request: FastifyRequest, reply: FastifyReply): boolean {
    const { shouldCompress } = this.#policy
    return shouldCompress === undefined || shouldCompress(request, reply)
  }

  #choice(request: FastifyRequest): Choice {
    const header = accepted(request)
    return header === undefined ? NOTHING_SAID : this.#policy.negotiator.choose(header)
  }

  #compress(
    request: FastifyRequest,
    reply: FastifyReply,
    body: Body,
    bytes: number,
    digest: string | undefined,
    done: Done
  ): void {
    const { isCached, encoders } = this.#policy
    const { compressor, cache } = this.#shared
    const { encoding, refusesIdentity } = this.#choice(request)
    const wanted = encoders.get(encoding!)!
    const sighting = isCached ? cache?.sight(body, digest) : undefined
    compressor.compress(body, bytes, wanted, this.#affordable(wanted), sighting, (error, result) =>
      error === null && (refusesIdentity || result!.body.length < bytes)
        ? this.#finish(reply, wanted.encoding, bytes, result!, done)
        : this.#skip(error === null ? 'no_gain' : 'error', body, bytes, done)
    )
  }

  #affordable(wanted: Encoder): Encoder {
    const { load, cheapest } = this.#shared
    return load() === 'normal' ? wanted : cheapest(wanted)
  }

  #finish(
    reply: FastifyReply,
    encoding: Encoding,
    bytes: number,
    { body, cpuMs, isCached }: Compressed,
    done: Done
  ): void {
    const { isSecret, paddingBytes, meter } = this.#policy
    const sent = isSecret ? padded(body, paddingBytes) : body
    meter.of(encoding).count(bytes, sent.length, cpuMs, isCached)
    markEncoded(reply, encoding)
    done(null, sent)
  }

  #sendStream(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: Done): void {
    const source = request.method === 'HEAD' ? undefined : readableOf(payload, reply)
    if (source === undefined) return done(null, payload)
    const length = Number(reply.getHeader('content-length') ?? Infinity)
    const reason = this.#policy.isSecret ? 'secret' : this.#reason(request, reply, length)
    if (reason !== undefined) {
      this.#policy.meter.skip(reason, Number.isFinite(length) ? length : 0)
      return done(null, source)
    }
    const { encoding } = this.#choice(request)
    const encoder = this.#affordable(this.#policy.encoders.get(encoding!)!)
    markEncoded(reply, encoder.encoding)
    done(null, this.#shared.streams.compress(source, encoder, reply, this.#policy.meter))
  }
}

/** A stream of any kind as one of Node's; `undefined` for what is none. */
function readableOf(payload: unknown, reply: FastifyReply): Readable | undefined {
  if (payload instanceof Response) return unwrapped(payload, reply)
  if (payload instanceof ReadableStream) return Readable.fromWeb(payload)
  const { pipe } = payload as { pipe?: unknown }
  return typeof pipe === 'function' ? (payload as Readable) : undefined
}

/** The body of a fetch `Response`, whose status and headers become the reply's, as Fastify does later. */
function unwrapped(response: Response, reply: FastifyReply): Readable | undefined {
  if (response.body === null || response.bodyUsed) return undefined
  reply.code(response.status)
  for (const [name, value] of response.headers) reply.header(name, value)
  return Readable.fromWeb(response.body)
}
