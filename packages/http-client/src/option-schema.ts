import Type from 'typebox'
import type { ClientPolicyOptions, TlsOptions, UpstreamBreakerOptions } from './option-types.ts'
import { hedge, outlier, retry } from './policy-schema.ts'
import { flag, milliseconds, orFalse, whole } from './schema-parts.ts'

const pool = {
  preset: Type.Optional(
    Type.Union([Type.Literal('default'), Type.Literal('ai'), Type.Literal('test')], {
      default: 'default',
      description: 'ai: upstreams that take minutes; test: fails fast and leaves nothing behind'
    })
  ),
  connections: whole('most connections to an origin, and so calls under way', 1, 10_000, {
    default: 64
  }),
  maxQueue: whole(
    'most calls that wait for a connection to an origin; more are refused',
    0,
    100_000,
    {
      default: 256
    }
  ),
  queueTimeoutMs: milliseconds('longest wait for a connection of our own pool', 1000),
  maxIdlePerOrigin: whole(
    'connections to an origin kept when idle, about; default: all',
    0,
    10_000,
    { env: 'CONNECTION_POOL_MAX_IDLE_PER_HOST' }
  ),
  idleTimeoutMs: milliseconds(
    'an idle connection is closed after so many milliseconds at most; sooner when the upstream says so, and after 4 s when it says nothing',
    60_000,
    'CONNECTION_POOL_TIMEOUT'
  )
}

const times = {
  connectTimeoutMs: milliseconds('longest time to connect, TLS included', 5000),
  headersTimeoutMs: milliseconds('longest wait for an answer to begin', 15_000),
  bodyTimeoutMs: milliseconds('longest pause within an answer', 15_000),
  timeoutMs: milliseconds(
    'longest time of a call as a whole: queue, attempts, pauses, body',
    30_000
  ),
  maxResponseBytes: whole(
    'largest body of an answer in bytes; default: any',
    1,
    Number.MAX_SAFE_INTEGER
  ),
  tls: Type.Optional(
    Type.Unsafe<TlsOptions>({
      'x-kind': 'instance',
      description: 'for tls.connect, such as ca, cert, key, servername'
    })
  )
}

const policies = {
  retry: orFalse('retries, by full jitter inside a budget; false: none', {}, retry),
  retryBudget: Type.Optional(
    Type.Object(
      {
        ratio: Type.Optional(
          Type.Number({
            minimum: 0,
            maximum: 1,
            default: 0.1,
            description: 'retries and hedges for each call of the last 10 s; 0.1 is 10 % extra'
          })
        ),
        minPerSecond: Type.Optional(
          Type.Number({
            minimum: 0,
            maximum: 1_000_000,
            default: 0.1,
            description:
              'retries a second allowed in any case, so that clients with few calls get some'
          })
        )
      },
      { additionalProperties: false }
    )
  ),
  hedge: orFalse('second attempts of calls that are late; false: none', false, hedge),
  breaker: Type.Optional(
    Type.Union(
      [
        Type.Literal(false),
        Type.Unsafe<UpstreamBreakerOptions>({ type: 'object', description: 'object' })
      ],
      {
        default: {},
        description: 'options of the circuit breaker that each origin has; false: none'
      }
    )
  ),
  outlierEjection: orFalse('takes failing ones of several origins out; false: never', {}, outlier),
  ssrfGuard: orFalse('refuses to connect to addresses that are not public', false, {
    allow: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        default: [],
        description: 'addresses, ranges, host names or *.host names allowed nonetheless'
      })
    )
  })
}

const passedOn = {
  inheritDeadline: flag(
    'a call lasts no longer than the deadlineHeader of the request it is made for',
    true
  ),
  sendDeadline: flag('tells upstreams by deadlineHeader how many milliseconds are left', false),
  deadlineHeader: Type.Optional(
    Type.String({
      pattern: '^[a-z0-9-]+$',
      default: 'x-request-deadline-ms',
      description: 'header of milliseconds left, lower case'
    })
  ),
  abortWithRequest: flag(
    'a call ends when the client goes away that waits for the request it is made for',
    true
  ),
  forwardTrace: flag('passes the trace context on: of the active span, or of the request', true),
  requestIdHeader: Type.Optional(
    Type.String({
      pattern: '^[a-z0-9-]*$',
      default: 'x-request-id',
      description: 'header in which the id of the request is passed on, lower case; empty: not'
    })
  ),
  slowUpstreamMs: milliseconds(
    'an upstream is reported when p95 of its time to the first byte passes this',
    1000
  )
}

export const policySchema: Type.TObject = Type.Object(
  { ...pool, ...times, ...policies, ...passedOn },
  { additionalProperties: false }
)

export const clientSchema: Type.TObject = Type.Object(
  {
    origins: Type.Array(Type.String({ minLength: 1 }), {
      minItems: 1,
      maxItems: 100,
      description: 'where its upstreams are, such as http://payments:3000; several are balanced'
    }),
    ...policySchema.properties
  },
  { additionalProperties: false }
)

/** The one description of the options: types, limits, defaults, and the table in the README. */
export const optionsSchema: Type.TObject = Type.Object(
  {
    clients: Type.Optional(
      Type.Record(Type.String(), clientSchema, {
        default: {},
        description: 'clients by name; more can be declared by app.httpClient(name, options)'
      })
    ),
    defaults: Type.Optional(
      Type.Unsafe<ClientPolicyOptions>({
        type: 'object',
        default: {},
        description: 'for all clients that do not say otherwise: all their options but origins'
      })
    ),
    maxClients: whole('most clients of an app', 1, 1000, { default: 50 }),
    maxIdle: whole('connections of all clients kept when idle, about; default: all', 0, 100_000, {
      env: 'CONNECTION_POOL_MAX_IDLE'
    }),
    followRequests: flag(
      'counts calls on the request they are made for and passes its trace on; costs each request about a microsecond',
      true
    ),
    closeGraceMs: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 600_000,
        default: 2000,
        description: 'how long calls under way may go on when the app closes, in milliseconds'
      })
    )
  },
  { additionalProperties: false }
)
