import { VitalsOptionError, resolveOptions, wholeNumber } from '@fastify-vitals/metrics'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { CODECS, ENCODINGS } from './codecs.ts'
import type { Encoding } from './codecs.ts'
import { COMPRESSIBLE } from './content-types.ts'

export const NAME = '@fastify-vitals/compression'

/** Whether a response may be compressed; asked for bodies that otherwise would be. */
export type ShouldCompress = (request: FastifyRequest, reply: FastifyReply) => boolean

/** Level by encoding. */
export type Levels = Partial<Record<Encoding, number>>

/** What may differ from route to route. */
interface RouteLevelOptions {
  encodings?: readonly Encoding[]
  levels?: Levels
  minBytes?: number
  contentTypes?: readonly string[]
  etag?: boolean
  secretPaddingBytes?: number
  shouldCompress?: ShouldCompress
  decompressRequests?: boolean
  maxRequestBytes?: number
  maxRequestRatio?: number
}

/** Options of `@fastify-vitals/compression`. */
export interface CompressionOptions extends RouteLevelOptions {
  global?: boolean
  maxSyncMs?: number
  maxPending?: number
  cacheBytes?: number
  adaptive?: boolean
  lowerAbove?: number
  restoreBelow?: number
  skipAbove?: number
  loadSampleMs?: number
  utilisation?: () => number
  maxRequestEncodings?: number
}

/** `config.compression` of a route. */
export interface RouteCompressionOptions extends RouteLevelOptions {
  /** Its bodies hold secrets beside what a client can choose (BREACH): they are not compressed, or padded. */
  secret?: boolean
  /** `false`: compressed bodies are not kept for the next request. */
  cache?: boolean
}

type Undefaulted = 'shouldCompress' | 'maxRequestBytes' | 'utilisation'

type Complete<Options> = Readonly<
  Required<Omit<Options, Undefaulted | 'levels'>> & Pick<Options, Undefaulted & keyof Options>
> & { readonly levels: Readonly<Record<Encoding, number>> }

export type ResolvedCompressionOptions = Complete<CompressionOptions>
export type ResolvedRouteOptions = Complete<RouteCompressionOptions>

const number = (
  description: string,
  minimum: number,
  maximum: number,
  value: number
): Type.TOptional<Type.TNumber> =>
  Type.Optional(Type.Number({ minimum, maximum, default: value, description }))

const flag = (description: string, value: boolean): Type.TOptional<Type.TBoolean> =>
  Type.Optional(Type.Boolean({ default: value, description }))

const routeLevel = {
  encodings: Type.Optional(
    Type.Array(Type.Union(ENCODINGS.map((encoding) => Type.Literal(encoding))), {
      minItems: 1,
      uniqueItems: true,
      description:
        'content encodings in order of preference, also of request bodies; default: br, zstd where Node has it, gzip, deflate'
    })
  ),
  levels: Type.Optional(
    Type.Object(
      {
        br: wholeNumber(
          'quality of br; 4, what @fastify/compress uses, takes twice as long for 5 % less',
          0,
          11,
          2
        ),
        zstd: wholeNumber('level of zstd', 1, 19, 3),
        gzip: wholeNumber(
          'level of gzip; 6, the default of zlib, takes up to twice as long for 2 to 6 % less',
          1,
          9,
          5
        ),
        deflate: wholeNumber('level of deflate', 1, 9, 5)
      },
      { additionalProperties: false }
    )
  ),
  minBytes: wholeNumber('smaller bodies are sent as they are', 0, 2 ** 31 - 1, 1024),
  contentTypes: Type.Optional(
    Type.Array(Type.String({ pattern: '^(\\*\\+[^\\s/;,*]+|[^\\s/;,*]+/(\\*|[^\\s/;,*]+))$' }), {
      minItems: 1,
      default: [...COMPRESSIBLE],
      description:
        'types that are compressed, such as application/json, text/*, *+json; text/event-stream never is'
    })
  ),
  etag: flag('weak ETags made of the body, and 304 for clients that have it', false),
  secretPaddingBytes: wholeNumber(
    'routes with secrets answer with gzip and up to so many random bytes; 0: they are not compressed',
    0,
    32_768,
    0
  ),
  shouldCompress: Type.Optional(
    Type.Unsafe<ShouldCompress>({
      'x-kind': 'function',
      description: 'asked with request and reply whether to compress; when it throws: no'
    })
  ),
  decompressRequests: flag('encoded request bodies are decoded', true),
  maxRequestBytes: wholeNumber(
    'most bytes of a request body once decoded; default: the bodyLimit of its route',
    1,
    2 ** 40
  ),
  maxRequestRatio: number(
    'most bytes out of one byte in, judged from 1 MB of output on',
    1,
    1_000_000,
    200
  )
}

/** The one description of the options: types, limits, defaults, and the table in the README. */
export const optionsSchema: Type.TObject = Type.Object(
  {
    ...routeLevel,
    global: flag(
      'all routes; false: only those with config.compression, and replies sent by reply.compress',
      true
    ),
    maxSyncMs: number(
      'a body that should take no longer than so many milliseconds is compressed at once, which costs least; others in the thread pool, which frees the event loop',
      0,
      50,
      1
    ),
    maxPending: wholeNumber(
      'bodies in the thread pool at once; more are sent as they are',
      1,
      10_000,
      64
    ),
    cacheBytes: wholeNumber(
      'memory for compressed bodies that come again; 0: none are kept',
      0,
      2 ** 31 - 1,
      8_388_608
    ),
    adaptive: flag('spend less on compression while the process is busy', true),
    lowerAbove: number(
      'utilisation from 0 to 1 above which the cheapest level is used',
      0,
      1,
      0.85
    ),
    restoreBelow: number('utilisation below which it was enough', 0, 1, 0.7),
    skipAbove: number(
      'utilisation above which, at the cheapest level, nothing is compressed',
      0,
      1,
      0.99
    ),
    loadSampleMs: wholeNumber(
      'milliseconds between two looks at the utilisation',
      50,
      60_000,
      1000
    ),
    utilisation: Type.Optional(
      Type.Unsafe<() => number>({
        'x-kind': 'function',
        description:
          'tells how busy the process is, 0 to 1; default: event loop utilisation or share of all cores, whichever is larger'
      })
    ),
    maxRequestEncodings: wholeNumber(
      'encodings that a request body may have on top of each other',
      1,
      10,
      2
    )
  },
  { additionalProperties: false }
)

const routeSchema: Type.TObject = Type.Object(
  {
    ...routeLevel,
    secret: flag('bodies hold secrets', false),
    cache: flag('compressed bodies are kept', true)
  },
  { additionalProperties: false }
)

/** @throws VitalsOptionError naming the option, what was given and what is allowed */
export function resolveCompressionOptions(given: unknown): ResolvedCompressionOptions {
  const resolved = withEncodings(
    NAME,
    resolveOptions<ResolvedCompressionOptions>(NAME, optionsSchema, given)
  )
  const { lowerAbove, restoreBelow, skipAbove } = resolved
  if (restoreBelow >= lowerAbove) {
    throw new VitalsOptionError(
      NAME,
      'restoreBelow',
      `must be less than lowerAbove (${lowerAbove}), got ${restoreBelow}`
    )
  }
  if (skipAbove < lowerAbove) {
    throw new VitalsOptionError(
      NAME,
      'skipAbove',
      `must be at least lowerAbove (${lowerAbove}), got ${skipAbove}`
    )
  }
  return resolved
}

/**
 * What a route was given, over the plugin's options.
 * @param route for errors, such as `GET /orders`
 * @throws VitalsOptionError naming the route, the option, what was given and what is allowed
 */
export function resolveRouteOptions(
  route: string,
  defaults: ResolvedCompressionOptions,
  given: RouteCompressionOptions
): ResolvedRouteOptions {
  const where = `${NAME}: config.compression of ${route}`
  const inherited = Object.entries(defaults).filter(([option]) => option in routeLevel)
  const said = Object.entries(given).filter(([, value]) => value !== undefined)
  const levels =
    typeof given.levels === 'object' ? { ...defaults.levels, ...given.levels } : defaults.levels
  const merged = Object.fromEntries([
    ...inherited,
    ...said,
    ['levels', given.levels === undefined ? defaults.levels : levels]
  ])
  return withEncodings(where, resolveOptions<ResolvedRouteOptions>(where, routeSchema, merged))
}

/** @throws VitalsOptionError for encodings that this Node does not have */
function withEncodings<Options extends { readonly encodings: readonly Encoding[] }>(
  where: string,
  options: Options
): Options {
  const available = ENCODINGS.filter((encoding) => CODECS.has(encoding))
  const given = options.encodings as readonly Encoding[] | undefined
  const missing = given?.find((encoding) => !CODECS.has(encoding))
  if (missing !== undefined) {
    throw new VitalsOptionError(
      where,
      'encodings',
      `must be what Node ${process.version} has (${available.join(', ')}), got "${missing}"`
    )
  }
  return Object.freeze({ ...options, encodings: given ?? available })
}
