import { VitalsOptionError, resolveOptions, wholeNumber } from '@fastify-vitals/metrics'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { TSchema } from 'typebox'
import { FORCED_MODES } from './breaker-types.ts'
import type { BreakerOptions, BreakerPolicyOptions, IsFailure } from './breaker-types.ts'

export const NAME = '@fastify-vitals/circuit-breaker'

/** Options of `@fastify-vitals/circuit-breaker`. */
export interface CircuitBreakerOptions {
  /** For all breakers that don't say otherwise. */
  defaults?: BreakerPolicyOptions
  maxBreakers?: number
  logTransitions?: boolean
}

export type ResolvedCircuitBreakerOptions = Readonly<
  Required<Omit<CircuitBreakerOptions, 'defaults'>>
> & { readonly defaults: Readonly<BreakerPolicyOptions> }

type Undefaulted =
  | 'consecutiveFailures'
  | 'slowCallMs'
  | 'maxConcurrent'
  | 'isFailure'
  | 'fallback'
  | 'staleKey'

/** The options of one breaker, with every default in place. */
export type ResolvedBreakerOptions<Args extends unknown[], Result> = Readonly<
  Required<Omit<BreakerOptions<Args, Result>, Undefaulted>> &
    Pick<BreakerOptions<Args, Result>, Undefaulted>
>

/** Answers in place of a handler; what it returns is sent. */
export type RouteFallback = (
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply
) => unknown

/** `config.circuitBreaker` of a route. */
export interface RouteBreakerOptions extends Omit<
  BreakerPolicyOptions,
  'isFailure' | 'maxQueue' | 'queueTimeoutMs'
> {
  /** Default: method and path. Routes that give the same name share a breaker. */
  name?: string
  fallback?: RouteFallback
}

/** The same with every default in place. */
export type ResolvedRouteOptions = ResolvedBreakerOptions<unknown[], unknown> & {
  readonly fallback?: RouteFallback
}

const milliseconds = (description: string, value?: number): Type.TOptional<Type.TNumber> =>
  Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      maximum: 2 ** 31 - 1,
      description,
      ...(value === undefined ? {} : { default: value })
    })
  )

const percentage = (description: string, value: number): Type.TOptional<Type.TNumber> =>
  Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 100, default: value, description }))

const opening = {
  timeoutMs: Type.Optional(
    Type.Unsafe<number | false>({
      anyOf: [{ type: 'number', exclusiveMinimum: 0, maximum: 2 ** 31 - 1 }, { const: false }],
      'x-kind': 'number > 0, or false',
      default: 10_000,
      description: 'a call that takes longer is aborted and counts as a failure; false: no limit'
    })
  ),
  failureThresholdPercentage: percentage(
    'opens when so many of the calls in the window failed',
    50
  ),
  consecutiveFailures: wholeNumber(
    'opens also after so many failures in a row, however few calls there were',
    1,
    1_000_000
  ),
  minimumCalls: wholeNumber('calls in the window before percentages are judged', 1, 1_000_000, 10),
  windowMs: milliseconds('length of the window in milliseconds', 10_000),
  windowBuckets: wholeNumber('parts of the window, which it moves by', 1, 100, 10),
  slowCallMs: milliseconds('calls that take so many milliseconds are slow; without it none is'),
  slowCallThresholdPercentage: percentage(
    'opens when so many of the calls in the window were slow',
    50
  )
}

const recovery = {
  openMs: milliseconds('how long it stays open the first time, in milliseconds', 10_000),
  openMsMultiplier: Type.Optional(
    Type.Number({
      minimum: 1,
      maximum: 10,
      default: 2,
      description: 'each time its probes fail it stays open so many times longer'
    })
  ),
  maxOpenMs: milliseconds('longest time it stays open, in milliseconds', 120_000),
  jitterRatio: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: 0.5,
      default: 0.1,
      description:
        'open times are spread at random by so much, so that processes do not probe at once'
    })
  ),
  halfOpenProbes: wholeNumber(
    'calls let through when half-open, to see if all is well',
    1,
    1000,
    3
  ),
  halfOpenSuccessRatio: Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      maximum: 1,
      default: 0.5,
      description: 'closes when so much of the probes succeeded, from 0 to 1'
    })
  )
}

const limits = {
  maxConcurrent: wholeNumber(
    'calls under way at once (bulkhead); one that timed out counts until its work has ended',
    1,
    1_000_000
  ),
  maxQueue: wholeNumber('calls that may wait for the bulkhead', 0, 100_000, 0),
  queueTimeoutMs: milliseconds('longest wait for the bulkhead in milliseconds', 1000),
  forced: Type.Optional(
    Type.Union(
      FORCED_MODES.map((mode) => Type.Literal(mode)),
      {
        default: 'none',
        description:
          'open refuses all calls, closed never opens, metrics_only does nothing but measure, none judges'
      }
    )
  ),
  isFailure: Type.Optional(
    Type.Unsafe<IsFailure>({
      'x-kind': 'function',
      description: `tells whether an error is a failure: true, false (it counts as an answer) or 'neither'; without it every error is`
    })
  )
}

const policySchema = Type.Object(
  { ...opening, ...recovery, ...limits },
  { additionalProperties: false }
)

const breakerSchema = Type.Object(
  {
    ...policySchema.properties,
    fallback: Type.Optional(
      Type.Unsafe<BreakerOptions['fallback']>({
        'x-kind': 'function',
        description: 'answers instead'
      })
    ),
    staleMs: Type.Optional(
      Type.Number({
        minimum: 0,
        default: 0,
        description: 'answers with the last good value of the same staleKey, if it is not older'
      })
    ),
    staleKey: Type.Optional(
      Type.Unsafe<BreakerOptions['staleKey']>({
        'x-kind': 'function',
        description: 'key of a call, from its arguments'
      })
    ),
    staleMaxEntries: wholeNumber('most values kept', 1, 1_000_000, 1000)
  },
  { additionalProperties: false }
)

const routeSchema = Type.Object(
  {
    ...opening,
    ...recovery,
    maxConcurrent: limits.maxConcurrent,
    forced: limits.forced,
    name: Type.Optional(Type.String({ minLength: 1, description: 'name of the breaker' })),
    fallback: Type.Optional(
      Type.Unsafe<RouteFallback>({ 'x-kind': 'function', description: 'answers instead' })
    )
  },
  { additionalProperties: false }
)

/** The one description of the options: types, limits, defaults, and the table in the README. */
export const optionsSchema: Type.TObject = Type.Object(
  {
    maxBreakers: wholeNumber('most breakers of an app, those of routes included', 1, 10_000, 100),
    logTransitions: Type.Optional(
      Type.Boolean({ default: true, description: 'a line in the log for each change of state' })
    ),
    defaults: Type.Optional(policySchema)
  },
  { additionalProperties: false }
)

/** @throws VitalsOptionError naming the option, what was given and what is allowed */
export function resolvePluginOptions(given: unknown): ResolvedCircuitBreakerOptions {
  const resolved = resolveOptions<ResolvedCircuitBreakerOptions>(NAME, optionsSchema, given)
  checkTogether(`${NAME}: option "defaults"`, resolved.defaults)
  return resolved
}

/**
 * What a breaker was given, over the plugin's defaults.
 * @throws VitalsOptionError naming the breaker, the option, what was given and what is allowed
 */
export function resolveBreakerOptions<Args extends unknown[], Result>(
  name: string,
  defaults: Readonly<BreakerPolicyOptions>,
  given: BreakerOptions<Args, Result>
): ResolvedBreakerOptions<Args, Result> {
  const where = `${NAME}: breaker "${name}"`
  const resolved = resolveOver<ResolvedBreakerOptions<Args, Result>>(
    where,
    breakerSchema,
    defaults,
    given
  )
  if (resolved.staleMs > 0 && resolved.staleKey === undefined) {
    throw new VitalsOptionError(
      where,
      'staleKey',
      'must be given with staleMs: it tells calls apart'
    )
  }
  return resolved
}

/**
 * What a route was given, over the plugin's defaults.
 * @param route for errors, such as `GET /orders`
 * @throws VitalsOptionError naming the route, the option, what was given and what is allowed
 */
export function resolveRouteOptions(
  route: string,
  defaults: Readonly<BreakerPolicyOptions>,
  given: RouteBreakerOptions
): ResolvedRouteOptions {
  const where = `${NAME}: config.circuitBreaker of ${route}`
  return resolveOver<ResolvedRouteOptions>(where, routeSchema, defaults, given)
}

function resolveOver<Resolved extends Readonly<BreakerPolicyOptions>>(
  where: string,
  schema: TSchema & { properties: object },
  defaults: Readonly<BreakerPolicyOptions>,
  given: object
): Resolved {
  const known = Object.entries(defaults).filter(([option]) => option in schema.properties)
  const said = Object.entries(given).filter(([, value]) => value !== undefined)
  const merged = Object.fromEntries([...known, ...said])
  const resolved = resolveOptions<Resolved>(where, schema, merged)
  checkTogether(where, resolved)
  return resolved
}

function checkTogether(where: string, options: Readonly<BreakerPolicyOptions>): void {
  const { openMs = 0, maxOpenMs = openMs, maxQueue = 0, maxConcurrent } = options
  const { timeoutMs = false, slowCallMs = 0 } = options
  if (maxOpenMs < openMs) {
    throw new VitalsOptionError(
      where,
      'maxOpenMs',
      `must be at least openMs (${openMs}), got ${maxOpenMs}`
    )
  }
  if (timeoutMs !== false && slowCallMs >= timeoutMs) {
    throw new VitalsOptionError(
      where,
      'slowCallMs',
      `must be less than timeoutMs (${timeoutMs}), got ${slowCallMs}`
    )
  }
  if (maxQueue > 0 && maxConcurrent === undefined) {
    throw new VitalsOptionError(where, 'maxQueue', 'must be given with maxConcurrent')
  }
}
