import { VitalsOptionError, resolveOptions } from '@fastify-vitals/metrics'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { FixedWindowPolicy, PolicyOptions, TokenBucketPolicy } from './policy.ts'
import type { RedisClient } from './redis-script.ts'

export const NAME = '@fastify-vitals/rate-limit'

/** Whom a request counts for. */
export type KeySource =
  | 'ip'
  | 'user'
  | 'tenant'
  | { readonly header: string }
  | ((request: FastifyRequest) => string | undefined)

export type CostSource = number | ((request: FastifyRequest) => number)

/** Fields in which a client is told of its limit. */
export type HeaderStyle = 'draft' | 'draft-6' | 'legacy'

/** Where in the way of a request it is judged. */
export type LimitHook = 'onRequest' | 'preValidation' | 'preHandler'

/** The body of a refusal, as an `application/problem+json`. */
export interface RateLimitProblem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: string
  readonly retry_after_seconds?: number
  readonly 'violated-policies'?: readonly string[]
}

export interface SharedOptions {
  client: RedisClient
  keyPrefix?: string
  timeoutMs?: number
  instances?: number
}

interface LimitOptions {
  requestsPerSecond?: number
  burstSize?: number
  policies?: readonly PolicyOptions[]
  key?: KeySource
  cost?: CostSource
  dryRun?: boolean
}

/** Options of `@fastify-vitals/rate-limit`. */
export interface RateLimitOptions extends LimitOptions {
  global?: boolean
  groups?: Readonly<Record<string, LimitOptions>>
  ipv6SubnetBits?: number
  skipPaths?: readonly string[]
  allowList?: readonly string[]
  denyList?: readonly string[]
  skip?: (request: FastifyRequest) => boolean
  notFound?: boolean
  hook?: LimitHook
  headers?: readonly HeaderStyle[]
  problem?: (request: FastifyRequest, problem: RateLimitProblem) => unknown
  maxKeys?: number
  redis?: SharedOptions
  topKeys?: number
  showKeys?: 'hashed' | 'plain'
}

/** `config.rateLimit` of a route, when it is not `false`. */
export interface RouteLimitOptions extends LimitOptions {
  /** Shares the limits of a group with the other routes of it. */
  group?: string
}

type LimitUndefaulted = 'requestsPerSecond' | 'burstSize' | 'policies' | 'key' | 'cost' | 'dryRun'
type Undefaulted = LimitUndefaulted | 'groups' | 'skip' | 'problem' | 'redis'

export type ResolvedLimitOptions = Readonly<LimitOptions>
export type ResolvedRateLimitOptions = Readonly<
  Required<Omit<RateLimitOptions, Undefaulted>> &
    Pick<RateLimitOptions, Exclude<Undefaulted, 'redis' | 'groups'>>
> & {
  readonly groups?: Readonly<Record<string, ResolvedLimitOptions>>
  readonly redis?: Readonly<
    Required<Omit<SharedOptions, 'instances'>> & Pick<SharedOptions, 'instances'>
  >
}

const MOST_PER_SECOND = 1e6
const MOST_COST = 1e9
const LONGEST_WINDOW_MS = 31 * 24 * 3_600_000

const perSecond = (description: string, more: object = {}): Type.TNumber =>
  Type.Number({ exclusiveMinimum: 0, maximum: MOST_PER_SECOND, description, ...more })

const burst = (description: string, more: object = {}): Type.TInteger =>
  Type.Integer({ minimum: 1, maximum: MOST_COST, description, ...more })

const policyName = Type.Optional(
  Type.String({
    pattern: '^[A-Za-z][A-Za-z0-9_-]{0,31}$',
    description: 'how clients and metrics know the policy'
  })
)

const tokenBucket = Type.Object(
  {
    name: policyName,
    requestsPerSecond: perSecond('go on and on'),
    burstSize: Type.Optional(burst('let in at once; one second of requests when not given'))
  },
  { additionalProperties: false }
)

const fixedWindow = Type.Object(
  {
    name: policyName,
    max: burst('let in during each window'),
    windowMs: Type.Integer({
      minimum: 1,
      maximum: LONGEST_WINDOW_MS,
      description: 'length of a window in milliseconds'
    })
  },
  { additionalProperties: false }
)

/** A choice that is no JSON: no JSON matches it. */
const aFunction = Type.Unsafe<() => void>({ 'x-kind': 'function', not: {} })

const keySource = Type.Union([
  Type.Literal('ip'),
  Type.Literal('user'),
  Type.Literal('tenant'),
  Type.Object(
    { header: Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$', description: 'name of a header' }) },
    { additionalProperties: false }
  ),
  aFunction
])

const costSource = Type.Union([Type.Integer({ minimum: 1, maximum: MOST_COST }), aFunction])

const policies = Type.Array(Type.Unsafe<PolicyOptions>({ type: 'object' }), {
  minItems: 1,
  maxItems: 8,
  description:
    'several limits that all must hold, each {name, requestsPerSecond, burstSize} or {name, max, windowMs}, instead of requestsPerSecond and burstSize'
})

const limitProperties = {
  requestsPerSecond: Type.Optional(perSecond('requests a second that go on and on, for each key')),
  burstSize: Type.Optional(
    burst('requests at once, for each key; one second of requests when not given')
  ),
  policies: Type.Optional(policies),
  key: Type.Optional(
    Type.Unsafe<KeySource>({
      ...keySource,
      description:
        'whom a request counts for: ip, user or tenant (as @fastify-vitals/timing knows them), a header, or what a function returns; without a value it counts for the address'
    })
  ),
  cost: Type.Optional(
    Type.Unsafe<CostSource>({
      ...costSource,
      description: 'what a request takes from the limit, or a function that tells; 1 when not given'
    })
  ),
  dryRun: Type.Optional(
    Type.Boolean({
      description: 'counts who would be refused, and refuses nobody; false when not given'
    })
  )
}

const groupSchema = Type.Object(limitProperties, { additionalProperties: false })

const addresses = (description: string): Type.TOptional<Type.TArray<Type.TString>> =>
  Type.Optional(Type.Array(Type.String(), { maxItems: 10_000, default: [], description }))

/** The one description of the options: types, limits, defaults, and the table in the README. */
export const optionsSchema: Type.TObject = Type.Object(
  {
    ...limitProperties,
    requestsPerSecond: Type.Optional(
      perSecond(
        'requests a second that go on and on, for each key; 100 when no policies are given',
        {
          env: 'RATE_LIMIT_REQUESTS_PER_SECOND'
        }
      )
    ),
    burstSize: Type.Optional(
      burst('requests at once, for each key; one second of requests when not given', {
        env: 'RATE_LIMIT_BURST_SIZE'
      })
    ),
    global: Type.Optional(
      Type.Boolean({
        default: true,
        description:
          'limits every route that does not say otherwise; else only those that ask for it'
      })
    ),
    groups: Type.Optional(
      Type.Record(Type.String({ pattern: '^[A-Za-z][A-Za-z0-9_-]{0,31}$' }), groupSchema, {
        maxProperties: 100,
        description: 'limits by name that several routes share, chosen by `config.rateLimit.group`'
      })
    ),
    ipv6SubnetBits: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 128,
        default: 64,
        description: 'all addresses of such a subnet count as one'
      })
    ),
    skipPaths: Type.Optional(
      Type.Array(Type.String({ pattern: '^/' }), {
        maxItems: 1000,
        default: [],
        description: 'route patterns without limits; a * at the end stands for anything'
      })
    ),
    allowList: addresses('addresses and networks (10.0.0.0/8) without limits'),
    denyList: addresses('addresses and networks that are answered 403'),
    skip: Type.Optional(
      Type.Unsafe<RateLimitOptions['skip']>({
        'x-kind': 'function',
        description: 'requests for which it returns true are not limited'
      })
    ),
    notFound: Type.Optional(
      Type.Boolean({
        default: true,
        description: 'limits requests that match no route, which cost work too'
      })
    ),
    hook: Type.Optional(
      Type.Union(
        [Type.Literal('onRequest'), Type.Literal('preValidation'), Type.Literal('preHandler')],
        {
          default: 'onRequest',
          description: 'where requests are judged: later, when the key is known only after a login'
        }
      )
    ),
    headers: Type.Optional(
      Type.Array(
        Type.Union([Type.Literal('draft'), Type.Literal('draft-6'), Type.Literal('legacy')]),
        {
          maxItems: 3,
          default: ['draft'],
          description:
            'fields of every answer: draft (RateLimit, RateLimit-Policy), draft-6 (RateLimit-Limit, -Remaining, -Reset), legacy (X-RateLimit-…); empty for none'
        }
      )
    ),
    problem: Type.Optional(
      Type.Unsafe<RateLimitOptions['problem']>({
        'x-kind': 'function',
        description: 'returns another body for a refusal; the status stays'
      })
    ),
    maxKeys: Type.Optional(
      Type.Integer({
        minimum: 1000,
        maximum: 50_000_000,
        default: 1_000_000,
        description:
          'most keys in memory; a fixed window has so many of its own. Beyond it the keys that are free soonest are forgotten, and counted'
      })
    ),
    redis: Type.Optional(
      Type.Object(
        {
          client: Type.Unsafe<RedisClient>({
            'x-kind': 'instance',
            description: 'a client of ioredis or iovalkey, to share the limits of several processes'
          }),
          keyPrefix: Type.Optional(
            Type.String({
              maxLength: 100,
              default: 'vitals:rate-limit:',
              description: 'begins every key in Redis'
            })
          ),
          timeoutMs: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 10_000,
              default: 100,
              description: 'longest that a request waits for Redis before this instance decides'
            })
          ),
          instances: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 100_000,
              description:
                'processes that share the limits: each grants such a part of them while Redis is away; counted through Redis when not given'
            })
          )
        },
        { additionalProperties: false }
      )
    ),
    topKeys: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 1000,
        default: 20,
        description: 'most limited keys shown'
      })
    ),
    showKeys: Type.Optional(
      Type.Union([Type.Literal('hashed'), Type.Literal('plain')], {
        default: 'hashed',
        description: 'how the most limited keys are kept and shown'
      })
    )
  },
  { additionalProperties: false }
)

const routeSchema = Type.Object(
  { ...limitProperties, group: Type.Optional(Type.String({ description: 'name of a group' })) },
  { additionalProperties: false }
)

/** @throws VitalsOptionError */
export function resolvePluginOptions(given: unknown): ResolvedRateLimitOptions {
  return resolveOptions<ResolvedRateLimitOptions>(NAME, optionsSchema, given)
}

/** @throws VitalsOptionError naming the route and the option */
export function resolveRouteOptions(route: string, given: unknown): Readonly<RouteLimitOptions> {
  return resolveOptions<Readonly<RouteLimitOptions>>(
    `${NAME}: config.rateLimit of ${route}`,
    routeSchema,
    given
  )
}

/**
 * The policies that some options mean, or `undefined` when they name none.
 * @param where plugin or route, for messages
 * @throws VitalsOptionError
 */
export function policiesOf(
  where: string,
  options: LimitOptions
): readonly PolicyOptions[] | undefined {
  const { requestsPerSecond, burstSize, policies: given } = options
  if (given === undefined) {
    if (requestsPerSecond === undefined) {
      if (burstSize === undefined) return undefined
      throw new VitalsOptionError(where, 'burstSize', 'needs requestsPerSecond beside it')
    }
    return [{ requestsPerSecond, ...(burstSize === undefined ? {} : { burstSize }) }]
  }
  if (requestsPerSecond !== undefined || burstSize !== undefined) {
    throw new VitalsOptionError(
      where,
      'policies',
      'stand instead of requestsPerSecond and burstSize, got both'
    )
  }
  return given.map((policy, i) => resolvePolicyOptions(where, i, policy))
}

function resolvePolicyOptions(where: string, i: number, given: PolicyOptions): PolicyOptions {
  const isWindow = 'max' in given || 'windowMs' in given
  const schema = Type.Object({
    [`policies[${i}]`]: isWindow ? fixedWindow : tokenBucket
  })
  const resolved = resolveOptions<Record<string, FixedWindowPolicy | TokenBucketPolicy>>(
    where,
    schema,
    { [`policies[${i}]`]: given }
  )
  return resolved[`policies[${i}]`]!
}
