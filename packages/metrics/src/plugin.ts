import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { gcAction, resetAction } from './actions.ts'
import { VitalsDeclarationError, VitalsOptionError, shown } from './errors.ts'
import { Hub } from './hub.ts'
import { optionsSchema } from './options.ts'
import type { MetricsOptions, ResolvedMetricsOptions } from './options.ts'
import type { RequestRecord } from './requests/request-record.ts'
import { RequestContext } from './requests/request-context.ts'
import { installContextReentry, installRequestHooks } from './requests/request-hooks.ts'
import { resolveOptions } from './resolve-options.ts'
import { declareRuntimeMetrics } from './runtime/runtime-metrics.ts'
import { cardinalityView, runtimeView } from './views.ts'
import { LABEL_NAME } from './series-labels.ts'
import type { Vitals } from './vitals.ts'

const NAME = '@fastify-vitals/metrics'

declare module 'fastify' {
  interface FastifyInstance {
    /** The hub of all fastify-vitals plugins: write, read, judge, show and act. */
    vitals: Vitals
  }
  interface FastifyRequest {
    /** The request's record; `null` when no plugin needs records. */
    vitalsRecord: RequestRecord | null
  }
}

const plugin: FastifyPluginAsync<MetricsOptions> = async (app, given) => {
  if (app.hasDecorator('vitals')) {
    throw new VitalsDeclarationError(
      `${NAME} is already registered here; register it once, before the plugins that use it`
    )
  }
  const options = resolveOptions<ResolvedMetricsOptions>(NAME, optionsSchema, given)
  checkTogether(options)
  const onError = errorReporter(app)
  const hub = new Hub(options, {
    requests: requestContext(app, onError),
    now: () => performance.now(),
    onError
  })
  // first of all, so that a registration that fails leaves nothing in the registry either
  app.addHook('onClose', async () => hub.close())
  app.decorate('vitals', hub)
  app.decorateRequest('vitalsRecord', null)
  declareOwnMetrics(hub)
  if (options.runtimeMetrics) watchRuntime(app, hub, options)
  const timer = setInterval(() => hub.endSlot(), options.history.slotSeconds * 1000)
  timer.unref()
  app.addHook('onClose', async () => clearInterval(timer))
}

/** @throws VitalsOptionError for what a JSON schema can't say */
function checkTogether({ durationBuckets, defaultLabels }: ResolvedMetricsOptions): void {
  if (durationBuckets.some((bound, i) => bound <= (durationBuckets[i - 1] ?? 0))) {
    throw new VitalsOptionError(
      NAME,
      'durationBuckets',
      `must ascend, got ${shown(durationBuckets)}`
    )
  }
  const wrong = Object.keys(defaultLabels).find((label) => !LABEL_NAME.test(label))
  if (wrong !== undefined) {
    throw new VitalsOptionError(
      NAME,
      'defaultLabels',
      `must have names that match ${LABEL_NAME.source}, got ${shown(wrong)}`
    )
  }
}

function requestContext(app: FastifyInstance, onError: ErrorReporter): RequestContext {
  const context: RequestContext = new RequestContext(
    () => installRequestHooks(app, context),
    () => installContextReentry(app, context),
    onError
  )
  return context
}

type ErrorReporter = (what: string, error: unknown) => void

/** Logs what fails in callbacks, each kind once: they run every few seconds. */
function errorReporter(app: FastifyInstance): ErrorReporter {
  const reported = new Set<string>()
  return (what, error) => {
    if (reported.has(what) || reported.size >= 100) return
    reported.add(what)
    app.log.warn({ err: error }, `${NAME}: ${what} failed; this is logged once`)
  }
}

function declareOwnMetrics(hub: Hub): void {
  hub.gauge({
    name: 'vitals_series',
    help: 'Series held, by metric',
    labelNames: ['metric'],
    history: false,
    collect: () =>
      hub.families
        .filter(({ name }) => !name.startsWith('vitals_'))
        .map(({ name, size }) => [{ metric: name }, size])
  })
  hub.gauge({
    name: 'vitals_series_refused',
    help: 'Lookups of series that were refused because their metric was full, by metric',
    labelNames: ['metric'],
    history: false,
    collect: () =>
      hub.families
        .filter(({ refused }) => refused > 0)
        .map(({ name, refused }) => [{ metric: name }, refused])
  })
  hub.counter({
    name: 'vitals_series_dropped_total',
    help: 'Series dropped because they were idle',
    history: false,
    collect: () => hub.families.reduce((sum, { droppedCount }) => sum + droppedCount, 0)
  })
  hub.gauge({
    name: 'vitals_history_bytes',
    help: 'Memory of the history in bytes',
    history: false,
    collect: () => hub.history.bytes
  })
  hub.views.add(cardinalityView(() => hub.families))
  hub.actions.add(resetAction(() => hub.reset()))
}

function watchRuntime(app: FastifyInstance, hub: Hub, options: ResolvedMetricsOptions): void {
  const monitor = declareRuntimeMetrics(hub, options.diskPaths, () => performance.now())
  hub.views.add(runtimeView(monitor))
  hub.actions.add(gcAction())
  hub.onSlot((nowMs) => void monitor.sample(nowMs))
  app.addHook('onReady', async () => await monitor.sample(performance.now()))
  app.addHook('onClose', async () => monitor.close())
}

/**
 * The shared core: decorates the root with `app.vitals`.
 * @throws VitalsOptionError for options it can't work with
 */
export const metrics: FastifyPluginAsync<MetricsOptions> = fp(plugin, {
  name: NAME,
  fastify: '5.x'
})

/** The hub of an app, registered with defaults when it is not there yet. For plugins. */
export async function ensureVitals(app: FastifyInstance): Promise<Vitals> {
  if (!app.hasDecorator('vitals')) await app.register(metrics)
  return app.vitals
}
