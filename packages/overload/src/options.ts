import { VitalsOptionError, resolveOptions } from '@fastify-vitals/metrics'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Priority } from './priority.ts'
import { PRIORITIES } from './priority.ts'
import { workOptionsSchema } from './work/index.ts'
import type { ResolvedWorkOptions, WorkOptions } from './work/index.ts'

export const NAME = '@fastify-vitals/overload'

/** `config.overload` of a route. */
export interface RouteOverloadOptions {
  priority?: Priority
  partition?: string
  learn?: boolean
}

/** Options of `@fastify-vitals/overload`. */
export interface OverloadOptions {
  limit?: {
    min?: number
    max?: number
    initial?: number
    tolerance?: number
    windowMs?: number
    minSamples?: number
    probeIntervalMs?: number
  }
  queue?: {
    maxLength?: number
    maxWaitMs?: number
    minWaitMs?: number
    standingAfterMs?: number
  }
  guards?: {
    maxEventLoopDelayMs?: number
    maxUtilisation?: number
    maxHeapRatio?: number
    maxRssBytes?: number
  }
  turnMs?: number
  longLivedMs?: number
  /** Name of each partition, and the share of the limit that is kept for it, 0–1. */
  partitions?: Readonly<Record<string, number>>
  priority?: (request: FastifyRequest) => Priority | undefined
  partition?: (request: FastifyRequest) => string | undefined
  exempt?: readonly string[]
  dryRun?: boolean
  retryAfterSeconds?: number
  work?: WorkOptions
}

type Guards = NonNullable<OverloadOptions['guards']>

/** The options with every default in place. */
export interface ResolvedOverloadOptions extends Required<
  Omit<OverloadOptions, 'limit' | 'queue' | 'guards' | 'priority' | 'partition' | 'work'>
> {
  readonly limit: Readonly<Required<NonNullable<OverloadOptions['limit']>>>
  readonly queue: Readonly<Required<NonNullable<OverloadOptions['queue']>>>
  readonly guards: Readonly<Required<Omit<Guards, 'maxUtilisation' | 'maxRssBytes'>>> &
    Pick<Guards, 'maxUtilisation' | 'maxRssBytes'>
  readonly work: ResolvedWorkOptions
  readonly priority: OverloadOptions['priority']
  readonly partition: OverloadOptions['partition']
}

/** Whoever looks after the process must get in when it is full. */
const EXEMPT = [
  '/health*',
  '/ready',
  '/readyz',
  '/live',
  '/livez',
  '/metrics',
  '/admin',
  '/admin/*',
  '/performance/*'
]

const whole = (
  description: string,
  minimum: number,
  maximum: number,
  value: number
): Type.TOptional<Type.TInteger> =>
  Type.Optional(Type.Integer({ minimum, maximum, default: value, description }))

const milliseconds = (description: string, value: number): Type.TOptional<Type.TNumber> =>
  Type.Optional(
    Type.Number({ exclusiveMinimum: 0, maximum: 3_600_000, default: value, description })
  )

const limitSchema = Type.Object(
  {
    min: whole('fewest requests let in at once', 1, 100_000, 2),
    max: whole('most requests let in at once', 1, 100_000, 1000),
    initial: whole('the limit before anything is learned', 1, 100_000, 50),
    tolerance: Type.Optional(
      Type.Number({
        minimum: 1,
        maximum: 10,
        default: 1.3,
        description:
          'latency may be so many times the one without queueing before the limit shrinks'
      })
    ),
    windowMs: milliseconds('shortest window that is judged, in milliseconds', 100),
    minSamples: whole('fewest requests in a window that is judged', 1, 10_000, 20),
    probeIntervalMs: milliseconds(
      'while requests are held back, latency without queueing is measured anew so often',
      30_000
    )
  },
  { additionalProperties: false }
)

const queueSchema = Type.Object(
  {
    maxLength: whole('most requests that wait; 0: none waits for a place', 0, 100_000, 500),
    maxWaitMs: milliseconds('longest wait while the queue takes up a burst', 100),
    minWaitMs: milliseconds('longest wait in a queue that stands, newest first', 5),
    standingAfterMs: milliseconds('a queue that is not empty for so long stands', 100)
  },
  { additionalProperties: false }
)

const guardsSchema = Type.Object(
  {
    maxEventLoopDelayMs: milliseconds('sheds while the event loop comes later than this', 1000),
    maxUtilisation: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: 1,
        description: 'sheds while the event loop is busier than this, 0 to 1; without it never'
      })
    ),
    maxHeapRatio: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: 1,
        default: 0.95,
        description: 'sheds while more of the heap limit is used than this, 0 to 1'
      })
    ),
    maxRssBytes: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        description: 'sheds while the process takes more memory than this; without it never'
      })
    )
  },
  { additionalProperties: false }
)

/** The one description of the options: types, limits, defaults, and the table in the README. */
export const optionsSchema: Type.TObject = Type.Object(
  {
    limit: Type.Optional(limitSchema),
    queue: Type.Optional(queueSchema),
    guards: Type.Optional(guardsSchema),
    turnMs: milliseconds(
      'handlers run so long one after the other before newcomers are looked at',
      3
    ),
    longLivedMs: milliseconds(
      'an answer that goes on for longer, or an upgraded connection, gives its place back',
      10_000
    ),
    partitions: Type.Optional(
      Type.Record(Type.String(), Type.Number({ exclusiveMinimum: 0, maximum: 1 }), {
        default: {},
        description: 'share of the limit, 0 to 1, that is kept for each group, by its name'
      })
    ),
    priority: Type.Optional(
      Type.Unsafe<OverloadOptions['priority']>({
        'x-kind': 'function',
        description: `priority of a request, over that of its route: ${PRIORITIES.join(', ')}`
      })
    ),
    partition: Type.Optional(
      Type.Unsafe<OverloadOptions['partition']>({
        'x-kind': 'function',
        description: 'partition of a request, over that of its route'
      })
    ),
    exempt: Type.Optional(
      Type.Array(Type.String(), {
        default: EXEMPT,
        description: 'routes that are never held back; * at the end stands for anything'
      })
    ),
    dryRun: Type.Optional(
      Type.Boolean({ default: false, description: 'counts what it would turn away, lets all in' })
    ),
    retryAfterSeconds: whole('least Retry-After of those turned away', 1, 3600, 1),
    work: Type.Optional(workOptionsSchema)
  },
  { additionalProperties: false }
)

const routeSchema = Type.Object(
  {
    priority: Type.Optional(
      Type.Union(
        PRIORITIES.map((priority) => Type.Literal(priority)),
        { default: 'normal' }
      )
    ),
    partition: Type.Optional(Type.String({ description: 'name of a partition' })),
    learn: Type.Optional(
      Type.Boolean({ default: true, description: 'whether its latency teaches the limit' })
    )
  },
  { additionalProperties: false }
)

/** @throws VitalsOptionError naming the option, what was given and what is allowed */
export function resolvePluginOptions(given: unknown): ResolvedOverloadOptions {
  const resolved = resolveOptions<ResolvedOverloadOptions>(NAME, optionsSchema, given)
  checkLimit(resolved.limit)
  checkShares(resolved.partitions)
  const { maxWaitMs, minWaitMs } = resolved.queue
  if (minWaitMs > maxWaitMs) {
    throw new VitalsOptionError(
      NAME,
      'queue.minWaitMs',
      `must be at most maxWaitMs (${maxWaitMs}), got ${minWaitMs}`
    )
  }
  return resolved
}

function checkLimit({ min, max, initial }: ResolvedOverloadOptions['limit']): void {
  if (max < min) {
    throw new VitalsOptionError(NAME, 'limit.max', `must be at least min (${min}), got ${max}`)
  }
  if (initial < min || initial > max) {
    throw new VitalsOptionError(
      NAME,
      'limit.initial',
      `must be between min (${min}) and max (${max}), got ${initial}`
    )
  }
}

function checkShares(partitions: Readonly<Record<string, number>>): void {
  if (Object.hasOwn(partitions, '')) {
    throw new VitalsOptionError(NAME, 'partitions', 'must have names, got ""')
  }
  const sum = Object.values(partitions).reduce((total, share) => total + share, 0)
  if (sum > 1 + 1e-9) {
    throw new VitalsOptionError(NAME, 'partitions', `must add up to 1 at most, got ${sum}`)
  }
}

/**
 * @param route for errors, such as `GET /orders`
 * @returns `undefined` when the route is exempt
 * @throws VitalsOptionError naming the route, the option, what was given and what is allowed
 */
export function resolveRouteOptions(
  route: string,
  given: unknown,
  partitions: ResolvedOverloadOptions['partitions']
): Readonly<Required<Omit<RouteOverloadOptions, 'partition'>> & RouteOverloadOptions> | undefined {
  if (given === false) return undefined
  const where = `${NAME}: config.overload of ${route}`
  const resolved = resolveOptions<NonNullable<ReturnType<typeof resolveRouteOptions>>>(
    where,
    routeSchema,
    given
  )
  const { partition } = resolved
  if (partition !== undefined && !Object.hasOwn(partitions, partition)) {
    const known = Object.keys(partitions).join(', ') || 'none'
    throw new VitalsOptionError(where, 'partition', `must be one of ${known}, got "${partition}"`)
  }
  return resolved
}
