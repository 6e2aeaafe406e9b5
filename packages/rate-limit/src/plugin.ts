import {
  RouteHooks,
  VitalsDeclarationError,
  VitalsOptionError,
  ensureVitals
} from '@fastify-vitals/metrics'
import type { Vitals } from '@fastify-vitals/metrics'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { forgetKey } from './actions.ts'
import { rateLimitStorm, storeUnavailable } from './detectors.ts'
import { fixedWindowMaker } from './fixed-windows.ts'
import { LimitedKeys } from './limited-keys.ts'
import { LimitedRoutes } from './limited-routes.ts'
import type { RouteSurroundings } from './limited-routes.ts'
import { Limiters } from './limiters.ts'
import { NAME, resolvePluginOptions } from './options.ts'
import type { RateLimitOptions, ResolvedRateLimitOptions, RouteLimitOptions } from './options.ts'
import { RateLimitMetrics } from './rate-limit-metrics.ts'
import type { Callback } from './rate-limit-metrics.ts'
import type { Identify } from './request-reader.ts'
import { SharedStore } from './shared-store.ts'
import { rateLimitView } from './views.ts'
import { proxyWatch, warnOfEarlierRoutes } from './warnings.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `false`: no limit; `true`: the app's limits, also without `global`; or limits of its own. */
    rateLimit?: boolean | RouteLimitOptions
  }
}

const plugin: FastifyPluginAsync<RateLimitOptions> = async (app, given) => {
  if (app.hasRequestDecorator('rateLimitCall')) {
    throw new VitalsDeclarationError(
      `${NAME} is already registered here; give routes limits of their own by config.rateLimit, or several by policies`
    )
  }
  const options = resolvePluginOptions(given)
  const vitals = await ensureVitals(app)
  const metrics = new RateLimitMetrics(vitals, storeLogger(app))
  const store = options.redis && new SharedStore(options.redis, metrics)
  app.addHook('onClose', async () => store?.close())
  const limiters = new Limiters(options.maxKeys, await fixedWindowMaker(app), store)
  const limitedKeys = new LimitedKeys(options.topKeys, options.showKeys)
  const onBad = callbackLogger(app, metrics)
  const identify = identifier(app, vitals)
  const look = proxyWatch(app)
  const surroundings = { limiters, metrics, limitedKeys, identify, look, onBad }
  const routes = new LimitedRoutes(options, surroundings)
  addHooks(app, options, routes)
  warnOfEarlierRoutes(app)
  vitals.onSlot(() => limiters.sweep())
  vitals.onReset(() => limitedKeys.clear())
  showAt(vitals, surroundings, store)
}

function addHooks(
  app: FastifyInstance,
  options: ResolvedRateLimitOptions,
  routes: LimitedRoutes
): void {
  const hooks = new RouteHooks(options.hook)
  app.addHook('onRoute', (route) => {
    const hook = routes.hookOf(route)
    if (hook !== undefined) hooks.put(route, hook)
  })
  const { notFoundHook } = routes
  if (notFoundHook === undefined) return
  app.addHook('onRequest', function limitNotFound(request, reply, done) {
    if (request.is404) notFoundHook(request, reply, done)
    else done()
  })
}

function showAt(
  vitals: Vitals,
  { limiters, limitedKeys, metrics }: RouteSurroundings,
  store: SharedStore | undefined
): void {
  vitals.gauge({
    name: 'rate_limit_keys',
    help: 'Keys whose limits are kept in memory',
    collect: () => limiters.keys
  })
  vitals.counter({
    name: 'rate_limit_keys_evicted_total',
    help: 'Keys forgotten before their time because there were more than maxKeys',
    collect: () => limiters.evicted
  })
  if (store !== undefined) {
    vitals.gauge({
      name: 'rate_limit_store_up',
      help: '1 while the shared store decides, 0 while this instance does by its share',
      collect: () => (store.isUp ? 1 : 0)
    })
    vitals.detectors.add(storeUnavailable(store))
  }
  vitals.detectors.add(rateLimitStorm())
  vitals.views.add(rateLimitView(limiters, limitedKeys, store, metrics))
  vitals.actions.add(forgetKey(limiters))
}

function storeLogger(app: FastifyInstance): (isUp: boolean) => void {
  return (isUp) => {
    if (isUp) app.log.info(`${NAME}: the shared store is back; limits are shared again`)
    else
      app.log.warn(`${NAME}: the shared store does not answer; limiting by this instance's share`)
  }
}

/** Counts what goes wrong in the user's functions, and logs the first of each. */
function callbackLogger(
  app: FastifyInstance,
  metrics: RateLimitMetrics
): (callback: Callback, error: unknown) => void {
  const logged = new Set<Callback>()
  return (callback, error) => {
    metrics.callbackFailed(callback)
    if (!logged.has(callback)) {
      app.log.warn({ err: error }, `${NAME}: ${callback} failed; this is logged once`)
    }
    logged.add(callback)
  }
}

/** Reads who a request is for, as another plugin taught the hub; that it did is checked when the app is ready. */
function identifier(app: FastifyInstance, { requests }: Vitals): Identify {
  const needed = new Set<'user' | 'tenant'>()
  app.addHook('onReady', async () => {
    for (const who of needed) {
      if (requests.identity[who] !== undefined) continue
      throw new VitalsOptionError(
        NAME,
        'key',
        `"${who}" needs somebody who knows it: register @fastify-vitals/timing with the option ${who} first`
      )
    }
  })
  return (who) => {
    needed.add(who)
    return ({ vitalsRecord }) =>
      vitalsRecord === null ? undefined : requests.identity[who]?.(vitalsRecord)
  }
}

/**
 * Limits what a client may ask.
 * @throws VitalsOptionError for options it can't work with
 */
export const rateLimit: FastifyPluginAsync<RateLimitOptions> = fp(plugin, {
  name: NAME,
  fastify: '5.x'
})
