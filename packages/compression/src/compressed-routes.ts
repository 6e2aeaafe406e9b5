import { VitalsOptionError, guarded } from '@fastify-vitals/metrics'
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { Negotiator } from './accept-encoding.ts'
import { RouteMeter } from './compression-metrics.ts'
import type { CompressionMetrics } from './compression-metrics.ts'
import { ContentTypes } from './content-types.ts'
import type { Encoders } from './encoder.ts'
import { NAME, resolveRouteOptions } from './options.ts'
import type {
  ResolvedCompressionOptions,
  ResolvedRouteOptions,
  RouteCompressionOptions
} from './options.ts'
import { requestDecoding } from './request-decoding.ts'
import { ResponseCompression } from './response-compression.ts'
import type { SharedParts } from './response-compression.ts'
import { Trial } from './trial.ts'

export interface RouteParts {
  readonly metrics: CompressionMetrics
  readonly encoders: Encoders
  readonly shared: SharedParts
  readonly bodyLimit: number
  readonly now: () => number
  readonly onCallbackError: (callback: string, error: unknown) => void
  /** Replies that were sent by `reply.compress`. */
  readonly asked: WeakSet<FastifyReply>
}

/** What is known of a route, for the view and the detector. */
export interface KnownRoute {
  readonly method: string
  readonly route: string
  readonly trial: Trial
  readonly isSecret: boolean
}

type Done = (error: Error | null, payload?: unknown) => void

/** Methods without request bodies. */
const BODILESS = new Set(['GET', 'HEAD', 'TRACE'])

/** The routes of an app, each with what it does about compression. Bounded by what the app declares. */
export class CompressedRoutes {
  readonly #defaults: ResolvedCompressionOptions
  readonly #parts: RouteParts
  readonly #types: ContentTypes
  readonly #negotiator: Negotiator
  readonly #known: KnownRoute[]

  /** @param known where routes are written down */
  constructor(defaults: ResolvedCompressionOptions, parts: RouteParts, known: KnownRoute[]) {
    this.#defaults = defaults
    this.#parts = parts
    this.#types = new ContentTypes(defaults.contentTypes)
    this.#negotiator = new Negotiator(defaults.encodings)
    this.#known = known
  }

  /**
   * Adds the hooks that a route needs.
   * @throws VitalsOptionError for options it can't work with
   */
  adopt(route: RouteOptions): void {
    const methods = [route.method].flat().map((method) => method.toUpperCase())
    const label = methods.filter((method) => method !== 'HEAD' || methods.length === 1).join(',')
    const name = `${label} ${route.url}`
    const config: unknown = route.config?.compression
    const options = resolveRouteOptions(name, this.#defaults, givenOptions(name, config))
    if (options.decompressRequests && methods.some((method) => !BODILESS.has(method))) {
      this.#decode(route, options)
    }
    if (methods.every((method) => method === 'HEAD')) return
    const known = this.#know(label, route.url, options)
    const meter = new RouteMeter(this.#parts.metrics, label, route.url)
    if (config === false) addOnSend(route, observing(known.trial, meter, options.minBytes))
    else this.#compress(route, options, known, meter, config !== undefined)
  }

  #know(method: string, route: string, { secret: isSecret }: ResolvedRouteOptions): KnownRoute {
    const known = { method, route, isSecret, trial: new Trial(this.#parts.now) }
    this.#known.push(known)
    return known
  }

  #decode(route: RouteOptions, options: ResolvedRouteOptions): void {
    const { metrics, bodyLimit } = this.#parts
    const decoding = requestDecoding(
      {
        encodings: options.encodings,
        maxEncodings: this.#defaults.maxRequestEncodings,
        limits: {
          maxBytes: options.maxRequestBytes ?? route.bodyLimit ?? bodyLimit,
          maxRatio: options.maxRequestRatio
        }
      },
      metrics
    )
    // first of all: other hooks on the body want to see it decoded
    route.preParsing = [decoding, ...[route.preParsing ?? []].flat()]
  }

  #compress(
    route: RouteOptions,
    options: ResolvedRouteOptions,
    { trial }: KnownRoute,
    meter: RouteMeter,
    isChosen: boolean
  ): void {
    const compression = new ResponseCompression(
      { ...this.#policyOf(options), meter, trial },
      this.#parts.shared
    )
    const { asked } = this.#parts
    if (this.#defaults.global || isChosen) {
      addOnSend(route, function compressResponse(request, reply, payload, done) {
        compression.send(request, reply, payload, done)
      })
    } else {
      addOnSend(route, function compressWhenAsked(request, reply, payload, done) {
        if (asked.has(reply)) compression.send(request, reply, payload, done)
        else done(null, payload)
      })
    }
  }

  // eslint-disable-next-line typescript/explicit-function-return-type
  #policyOf(options: ResolvedRouteOptions) {
    const { encoders, onCallbackError } = this.#parts
    const { secret: isSecret, secretPaddingBytes: paddingBytes, shouldCompress } = options
    // padding goes into the header of a gzip file; the others have no place for it
    const isPadded = isSecret && paddingBytes > 0
    const encodings = isPadded
      ? options.encodings.filter((encoding) => encoding === 'gzip')
      : options.encodings
    const isDefault = !isPadded && same(options.encodings, this.#defaults.encodings)
    return {
      encoders: new Map(
        encodings.map((encoding) => [encoding, encoders.of(encoding, options.levels[encoding])])
      ),
      negotiator: isDefault ? this.#negotiator : new Negotiator(encodings),
      types: same(options.contentTypes, this.#defaults.contentTypes)
        ? this.#types
        : new ContentTypes(options.contentTypes),
      minBytes: options.minBytes,
      hasEtag: options.etag,
      isCached: options.cache && !isSecret,
      isSecret,
      paddingBytes,
      shouldCompress:
        shouldCompress === undefined
          ? undefined
          : guarded(shouldCompress, false, (error) => onCallbackError('shouldCompress', error))
    }
  }
}

/** @throws VitalsOptionError when it is nothing we know */
function givenOptions(route: string, config: unknown): RouteCompressionOptions {
  if (config === undefined || typeof config === 'boolean') return {}
  if (typeof config === 'object' && config !== null && !Array.isArray(config)) return config
  throw new VitalsOptionError(
    `${NAME}: ${route}`,
    'config.compression',
    `must be true, false or an object, got ${JSON.stringify(config)}`
  )
}

/** On routes where compression is switched off: what would it have saved? */
function observing(
  trial: Trial,
  meter: RouteMeter,
  minBytes: number
): (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: Done) => void {
  return function observeBody(_request, _reply, payload, done) {
    if ((typeof payload === 'string' || Buffer.isBuffer(payload)) && payload.length >= minBytes) {
      const bytes = Buffer.byteLength(payload)
      meter.skip('disabled', bytes)
      trial.consider(payload, bytes)
    }
    done(null, payload)
  }
}

function addOnSend(
  route: RouteOptions,
  hook: (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: Done) => void
): void {
  route.onSend = [...[route.onSend ?? []].flat(), hook]
}

function same(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((item, i) => item === other[i])
}
