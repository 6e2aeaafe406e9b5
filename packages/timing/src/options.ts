import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'

/** Reads who a request is for. What it throws is counted, and the request goes on without. */
export type Extractor = (request: FastifyRequest, reply: FastifyReply) => string | undefined

export type ServerTimingMode = 'never' | 'always' | 'on-request'

/** Options of `@fastify-vitals/timing`. */
export interface TimingOptions {
  slowRequestMs?: number
  verySlowRequestMs?: number
  slowLogLinesPerMinute?: number
  apdexTargetMs?: number
  maxAverageMs?: number
  maxP95Ms?: number
  maxErrorRatePercent?: number
  serverTiming?: ServerTimingMode
  allowTrace?: (request: FastifyRequest) => boolean
  excludePaths?: readonly string[]
  queueTimeHeader?: string
  tenant?: Extractor
  user?: Extractor
  maxTenants?: number
  maxUsers?: number
  labelNames?: readonly string[]
  labels?: (request: FastifyRequest, reply: FastifyReply) => Readonly<Record<string, string>>
  worstRequests?: number
}

type Undefaulted = 'allowTrace' | 'tenant' | 'user' | 'labels'

/** The options with every default in place. */
export type ResolvedTimingOptions = Readonly<
  Required<Omit<TimingOptions, Undefaulted>> & Pick<TimingOptions, Undefaulted>
>

const milliseconds = (
  description: string,
  value: number,
  env: string
): Type.TOptional<Type.TNumber> =>
  Type.Optional(Type.Number({ exclusiveMinimum: 0, default: value, description, env }))

const callback = <Callback>(description: string): Type.TOptional<Type.TUnsafe<Callback>> =>
  Type.Optional(Type.Unsafe<Callback>({ 'x-kind': 'function', description }))

/** The one description of the options: types, limits, defaults, and the table in the README. */
export const optionsSchema: Type.TObject = Type.Object(
  {
    slowRequestMs: milliseconds(
      'requests that take this many milliseconds are logged as a warning',
      1000,
      'PERFORMANCE_SLOW_REQUEST_THRESHOLD_MS'
    ),
    verySlowRequestMs: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        default: 5000,
        description: 'requests that take this many milliseconds are logged as an error'
      })
    ),
    slowLogLinesPerMinute: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 100_000,
        default: 60,
        description: 'most lines of slow requests a minute; how many were left out is logged'
      })
    ),
    apdexTargetMs: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        default: 500,
        description:
          'Apdex: satisfied up to this many milliseconds, tolerating up to four times as many'
      })
    ),
    maxAverageMs: milliseconds(
      'an endpoint is reported when its average passes this many milliseconds',
      1000,
      'PERFORMANCE_MAX_AVG_LATENCY_MS'
    ),
    maxP95Ms: milliseconds(
      'an endpoint is reported when its p95 passes this many milliseconds',
      2000,
      'PERFORMANCE_MAX_P95_LATENCY_MS'
    ),
    maxErrorRatePercent: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: 100,
        default: 5,
        description: 'an endpoint is reported when more of its requests fail',
        env: 'PERFORMANCE_MAX_ERROR_RATE_PERCENT'
      })
    ),
    serverTiming: Type.Optional(
      Type.Union([Type.Literal('never'), Type.Literal('always'), Type.Literal('on-request')], {
        default: 'never',
        description:
          'Server-Timing header: never, always, or for callers who send X-Trace: true and whom allowTrace lets'
      })
    ),
    allowTrace: callback<(request: FastifyRequest) => boolean>(
      'who may see Server-Timing when serverTiming is on-request; without it nobody'
    ),
    excludePaths: Type.Optional(
      Type.Array(Type.String({ pattern: '^/' }), {
        maxItems: 1000,
        default: [],
        description: 'route patterns that are not timed; a * at the end stands for anything'
      })
    ),
    queueTimeHeader: Type.Optional(
      Type.String({
        default: 'x-request-start',
        pattern: '^[a-z0-9-]*$',
        description:
          'header in which a proxy in front says when it got the request, lower case; empty: not read'
      })
    ),
    tenant: callback<Extractor>('tells the tenant of a request, for figures by tenant'),
    user: callback<Extractor>('tells the user of a request, for figures by user'),
    maxTenants: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 10_000,
        default: 100,
        description: 'the busiest tenants have figures of their own, all others share _OTHER'
      })
    ),
    maxUsers: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 10_000,
        default: 100,
        description: 'the busiest users have figures of their own, all others share _OTHER'
      })
    ),
    labelNames: Type.Optional(
      Type.Array(Type.String({ pattern: '^[a-zA-Z_][a-zA-Z0-9_]*$' }), {
        maxItems: 8,
        default: [],
        description: 'labels on top of method, route and status_code, filled by labels'
      })
    ),
    labels: callback<TimingOptions['labels']>(
      'values of labelNames for a request; never hand on what a client sent'
    ),
    worstRequests: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 100,
        default: 5,
        description: 'slowest requests of the last hour kept for each endpoint'
      })
    )
  },
  { additionalProperties: false }
)
