import { ensureBreakers } from '@fastify-vitals/circuit-breaker'
import { VitalsDeclarationError, ensureVitals } from '@fastify-vitals/metrics'
import type { RequestRecord, Vitals } from '@fastify-vitals/metrics'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { blameOfError } from './blame.ts'
import type { HttpClients } from './call-types.ts'
import { Client } from './client.ts'
import { ClientList } from './client-list.ts'
import { ClientMetrics } from './client-metrics.ts'
import { poolExhausted, slowUpstream } from './detectors.ts'
import { FailedStatus } from './failed-status.ts'
import { NAME, resolveClientOptions, resolvePluginOptions } from './options.ts'
import type {
  ClientOptions,
  ClientPolicyOptions,
  HttpClientOptions,
  ResolvedClientOptions,
  ResolvedHttpClientOptions
} from './option-types.ts'
import { Origins } from './origins.ts'
import { Upstream } from './upstream.ts'
import type { IdleLimit } from './upstream.ts'
import { poolsView } from './views.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** A named HTTP client; with options, declares it. */
    httpClient: HttpClients<ClientOptions>
  }
}

/** What all clients of a hub share; scopes beside each other do. */
interface Shared {
  readonly clients: ClientList
  readonly metrics: ClientMetrics
  readonly idle: IdleLimit
}

const SHARED = new WeakMap<Vitals, Shared>()
const now = (): number => performance.now()

const plugin: FastifyPluginAsync<HttpClientOptions> = async (app, given) => {
  if (app.hasDecorator('httpClient')) {
    throw new VitalsDeclarationError(
      `${NAME} is already registered here; register it once, before the plugins that use it`
    )
  }
  const options = resolvePluginOptions(given)
  const vitals = await ensureVitals(app)
  await ensureBreakers(app)
  if (options.followRequests) vitals.requests.follow()
  const shared = SHARED.get(vitals) ?? share(app, vitals, options)
  const currentRequest = (): RequestRecord | undefined =>
    options.followRequests ? vitals.requests.current() : undefined
  const declare = declarer(app, currentRequest, shared, given.defaults ?? {})
  app.decorate('httpClient', (name: string, declared?: ClientOptions) =>
    declared === undefined ? shared.clients.get(name) : declare(name, declared)
  )
  for (const [name, client] of Object.entries(given.clients ?? {})) declare(name, client)
}

function share(app: FastifyInstance, vitals: Vitals, options: ResolvedHttpClientOptions): Shared {
  const shared: Shared = {
    clients: new ClientList(options.maxClients),
    metrics: new ClientMetrics(vitals),
    idle: { maxIdle: options.maxIdle ?? Infinity, openSockets: 0 }
  }
  SHARED.set(vitals, shared)
  showAt(vitals, shared.clients)
  vitals.onReset(() => {
    for (const { origins } of shared.clients.list) for (const each of origins.list) each.reset()
  })
  app.addHook('onClose', async () => await shared.clients.close(options.closeGraceMs))
  return shared
}

function showAt(vitals: Vitals, clients: ClientList): void {
  vitals.views.add(poolsView(clients, now))
  vitals.detectors.add(slowUpstream(clients))
  vitals.detectors.add(poolExhausted(clients))
  const states = {
    active: (upstream: Upstream) => upstream.slots.running,
    idle: (upstream: Upstream) => upstream.idleSockets,
    pending: (upstream: Upstream) => upstream.slots.waiting
  }
  vitals.gauge({
    name: 'http_client_pool',
    help: 'Pools of HTTP clients: calls under way (active), open connections nobody uses (idle), calls that wait (pending)',
    labelNames: ['client', 'origin', 'state'],
    collect: () =>
      clients.list.flatMap(({ name: client, origins }) =>
        origins.list.flatMap((upstream) =>
          Object.entries(states).map(
            ([state, read]) => [{ client, origin: upstream.origin, state }, read(upstream)] as const
          )
        )
      )
  })
}

function declarer(
  app: FastifyInstance,
  currentRequest: () => RequestRecord | undefined,
  shared: Shared,
  defaults: ClientPolicyOptions
): (name: string, given: ClientOptions) => Client {
  return (name, given) =>
    shared.clients.add(name, () => {
      const options = resolveClientOptions(name, defaults, given)
      const upstreams = upstreamsOf(app, name, options, shared)
      return new Client(name, options, new Origins(upstreams, options, Math.random), {
        now,
        random: Math.random,
        currentRequest,
        meter: shared.metrics.client(name)
      })
    })
}

/** All of them with their breakers, or none: what was made until one failed is taken back. */
function upstreamsOf(
  app: FastifyInstance,
  name: string,
  options: ResolvedClientOptions,
  { metrics, idle }: Shared
): Upstream[] {
  const made: Upstream[] = []
  try {
    for (const url of options.origins) {
      const { origin } = new URL(url)
      const parts = { meter: metrics.origin(name, origin), idle, now }
      const upstream = new Upstream(name, origin, made.length, options, parts)
      made.push(upstream)
      protect(app, upstream, options)
    }
    return made
  } catch (error) {
    for (const upstream of made) {
      if (upstream.breaker !== undefined) app.breakers.delete(upstream.breaker.name)
      void upstream.destroy()
    }
    throw error
  }
}

/** Puts a circuit breaker before an origin. */
function protect(
  app: FastifyInstance,
  upstream: Upstream,
  { breaker }: ResolvedClientOptions
): void {
  if (breaker === false) return
  const { client, origin } = upstream.where
  upstream.breaker = app.breaker(`${client} ${origin}`, (attempt) => attempt.send(), {
    ...breaker,
    // time-outs are undici's and the call's own
    timeoutMs: false,
    isFailure(error) {
      if (error instanceof FailedStatus) return true
      const blame = blameOfError(error)
      return blame === 'unknown' ? 'neither' : blame === 'upstream'
    }
  })
}

/**
 * HTTP clients by name.
 * @throws VitalsOptionError for options it can't work with
 */
export const httpClient: FastifyPluginAsync<HttpClientOptions> = fp(plugin, {
  name: NAME,
  fastify: '5.x'
})
