import { VitalsDeclarationError, ensureVitals } from '@fastify-vitals/metrics'
import type { Vitals } from '@fastify-vitals/metrics'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { ActionBreaker } from './action-breaker.ts'
import type { Action } from './action-breaker.ts'
import { BreakerList } from './breaker-list.ts'
import { breakerActions } from './actions.ts'
import { BreakerMetrics } from './breaker-metrics.ts'
import type { BreakerCall, BreakerOptions, Breakers, MakeBreaker } from './breaker-types.ts'
import { breakerOpen } from './detectors.ts'
import { NAME, resolveBreakerOptions, resolvePluginOptions } from './options.ts'
import type {
  CircuitBreakerOptions,
  ResolvedCircuitBreakerOptions,
  RouteBreakerOptions
} from './options.ts'
import { ProtectedRoutes } from './protected-routes.ts'
import { breakersView } from './views.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Puts an action behind a circuit breaker. Once, at the start; then `fire` it. */
    breaker: MakeBreaker
    /** All circuit breakers of this app, those of routes included. */
    breakers: Breakers
  }
  interface FastifyRequest {
    /** On routes behind a breaker, the call that the handler works for; `null` on others. */
    breakerCall: BreakerCall | null
  }
  interface FastifyContextConfig {
    /** `true` or options: the handler of this route runs behind a circuit breaker. */
    circuitBreaker?: boolean | RouteBreakerOptions
  }
}

/** The breakers of each hub, which scopes beside each other share. */
const LISTS = new WeakMap<Vitals, BreakerList>()

const plugin: FastifyPluginAsync<CircuitBreakerOptions> = async (app, given) => {
  if (app.hasDecorator('breakers')) {
    throw new VitalsDeclarationError(
      `${NAME} is already registered here; register it once, before the plugins that use it`
    )
  }
  const options = resolvePluginOptions(given)
  const vitals = await ensureVitals(app)
  const list = LISTS.get(vitals) ?? breakerList(app, vitals, options)
  app.decorate('breakers', list)
  app.decorate('breaker', maker(list, options))
  app.decorateRequest('breakerCall', null)
  const routes = new ProtectedRoutes(list, options.defaults)
  app.addHook('onRoute', (route) => routes.adopt(route))
}

function breakerList(
  app: FastifyInstance,
  vitals: Vitals,
  options: ResolvedCircuitBreakerOptions
): BreakerList {
  const metrics = new BreakerMetrics(vitals)
  const logged = new Set<string>()
  const list = new BreakerList(options.maxBreakers, metrics, {
    now: () => performance.now(),
    random: Math.random,
    onError(callback, error) {
      metrics.callbackFailed(callback)
      if (!logged.has(callback)) {
        app.log.warn({ err: error }, `${NAME}: a ${callback} threw; this is logged once`)
      }
      logged.add(callback)
    }
  })
  if (options.logTransitions) {
    list.on(({ breaker, from, to, reason }) =>
      app.log.warn({ breaker, from, to }, `circuit breaker "${breaker}" is now ${to}: ${reason}`)
    )
  }
  showAt(vitals, list)
  app.addHook('onClose', async () => list.close())
  LISTS.set(vitals, list)
  return list
}

function showAt(vitals: Vitals, list: BreakerList): void {
  vitals.views.add(breakersView(list))
  vitals.detectors.add(breakerOpen(list))
  for (const action of breakerActions(list)) vitals.actions.add(action)
}

function maker(list: BreakerList, { defaults }: ResolvedCircuitBreakerOptions): MakeBreaker {
  return <Args extends unknown[], Result>(
    name: string,
    action: Action<Args, Result>,
    given: BreakerOptions<Args, Result> = {}
  ) => {
    const options = resolveBreakerOptions(name, defaults, given)
    return list.add(
      name,
      (meter, parts) => new ActionBreaker<Args, Result>(name, action, options, meter, parts)
    )
  }
}

/**
 * Circuit breakers for actions and routes.
 * @throws VitalsOptionError for options it can't work with
 */
export const circuitBreaker: FastifyPluginAsync<CircuitBreakerOptions> = fp(plugin, {
  name: NAME,
  fastify: '5.x'
})

/** The breakers of an app; the plugin is registered with defaults when it is not there yet. For plugins. */
export async function ensureBreakers(app: FastifyInstance): Promise<Breakers> {
  if (!app.hasDecorator('breakers')) await app.register(circuitBreaker)
  return app.breakers
}
