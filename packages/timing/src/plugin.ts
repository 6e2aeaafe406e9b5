import { VitalsOptionError, ensureVitals, guarded, resolveOptions } from '@fastify-vitals/metrics'
import type { RequestRecord, Vitals } from '@fastify-vitals/metrics'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { Connections } from './connections.ts'
import { highErrorRate, highLatency } from './detectors.ts'
import { declareHttpMetrics } from './http-metrics.ts'
import type { HttpMetrics } from './http-metrics.ts'
import { watchMalformed } from './malformed.ts'
import { optionsSchema } from './options.ts'
import type { Extractor, ResolvedTimingOptions, TimingOptions } from './options.ts'
import { figuresBy } from './people.ts'
import { Recorder } from './recorder.ts'
import type { LabelReader, Listener } from './recorder.ts'
import { serverTimingRule, serverTimingValue } from './server-timing.ts'
import { endpointsView, requestsView } from './views.ts'

const NAME = '@fastify-vitals/timing'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `false`: requests of this route are not timed. */
    timing?: boolean
  }
}

const plugin: FastifyPluginAsync<TimingOptions> = async (app, given) => {
  const options = resolveOptions<ResolvedTimingOptions>(NAME, optionsSchema, given)
  checkTogether(options)
  const vitals = await ensureVitals(app)
  const metrics = declareHttpMetrics(vitals, options.labelNames)
  const reportFailure = callbackErrors(app, metrics)
  identify(vitals, options, reportFailure)
  const recorder = new Recorder(
    metrics,
    options,
    listenersFor(vitals, options),
    labelReader(options, reportFailure)
  )
  vitals.requests.observe((record, status, nowMs) => recorder.complete(record, status, nowMs))
  vitals.onSlot(() => recorder.expire(Date.now()))
  vitals.onReset(() => recorder.reset())
  addServerTiming(app, options, reportFailure)
  const connections = new Connections(app.server)
  declareGauges(app, vitals, metrics, connections)
  const { apdexTargetMs } = options
  const sources = { vitals, recorder, metrics, connections, apdexTargetMs }
  vitals.views.add(requestsView(sources))
  vitals.views.add(endpointsView(sources))
  for (const detector of [highLatency(options), highErrorRate(options)]) {
    vitals.detectors.add(detector)
  }
}

/** @throws VitalsOptionError for options that are right alone and wrong together */
function checkTogether(options: ResolvedTimingOptions): void {
  if (options.verySlowRequestMs < options.slowRequestMs) {
    throw new VitalsOptionError(
      NAME,
      'verySlowRequestMs',
      `must be at least slowRequestMs (${options.slowRequestMs}), got ${options.verySlowRequestMs}`
    )
  }
  if (options.labelNames.length > 0 !== (options.labels !== undefined)) {
    throw new VitalsOptionError(NAME, 'labels', 'and labelNames must be given together')
  }
}

type FailureReporter = (callback: string) => (error: unknown) => void

/** Counts what throws in the user's callbacks, and logs the first of each. */
function callbackErrors(app: FastifyInstance, metrics: HttpMetrics): FailureReporter {
  return (callback) => {
    let logged = false
    return (error) => {
      metrics.failedCallbacks.with({ callback }).add()
      if (!logged) app.log.warn({ err: error }, `${NAME}: ${callback} threw; this is logged once`)
      logged = true
    }
  }
}

/** Lets every plugin know the tenant and user of a request. */
function identify(
  vitals: Vitals,
  options: ResolvedTimingOptions,
  reportFailure: FailureReporter
): void {
  const reader = (
    name: 'tenant' | 'user'
  ): ((record: RequestRecord) => string | undefined) | undefined => {
    const extract: Extractor | undefined = options[name]
    if (extract === undefined) return undefined
    const read = guarded(extract, undefined, reportFailure(name))
    return ({ request, reply }) => {
      const value: unknown = read(request, reply)
      return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
    }
  }
  vitals.requests.identifyBy({ tenant: reader('tenant'), user: reader('user') })
}

function listenersFor(vitals: Vitals, options: ResolvedTimingOptions): Listener[] {
  const listeners: Listener[] = []
  if (options.tenant !== undefined) listeners.push(figuresBy('tenant', options.maxTenants, vitals))
  if (options.user !== undefined) listeners.push(figuresBy('user', options.maxUsers, vitals))
  return listeners
}

function labelReader(
  options: ResolvedTimingOptions,
  reportFailure: FailureReporter
): LabelReader | undefined {
  const { labels, labelNames } = options
  if (labels === undefined) return undefined
  const read = ({ request, reply }: RequestRecord): Record<string, string> => {
    const given = labels(request, reply)
    return Object.fromEntries(labelNames.map((name) => [name, given[name] ?? '']))
  }
  const none = Object.fromEntries(labelNames.map((name) => [name, '']))
  return guarded(read, none, reportFailure('labels'))
}

/** Answers with `Server-Timing` where it should; without it there is no hook. */
function addServerTiming(
  app: FastifyInstance,
  options: ResolvedTimingOptions,
  reportFailure: FailureReporter
): void {
  const rule = serverTimingRule(options)
  if (rule === undefined) return
  const isWanted = guarded(rule, false, reportFailure('allowTrace'))
  app.addHook('onSend', function sendServerTiming(request, reply, payload, done) {
    const record = request.vitalsRecord
    if (record !== null && isWanted(request)) {
      reply.header('server-timing', serverTimingValue(record, performance.now()))
    }
    done(null, payload)
  })
}

function declareGauges(
  app: FastifyInstance,
  vitals: Vitals,
  metrics: HttpMetrics,
  connections: Connections
): void {
  vitals.gauge({
    name: 'http_requests_in_flight',
    help: 'HTTP requests that have begun and not ended',
    collect: () => vitals.requests.inFlight,
    opentelemetry: { name: 'http_server_active_requests' }
  })
  vitals.gauge({
    name: 'http_connections_active',
    help: 'Open connections of the server',
    collect: () => connections.active
  })
  watchMalformed(app.server, vitals.requests, (status) =>
    metrics.malformed.with({ status_code: status }).add()
  )
}

/**
 * Times every request, by route and status.
 * @throws VitalsOptionError for options it can't work with
 */
export const timing: FastifyPluginAsync<TimingOptions> = fp(plugin, {
  name: NAME,
  fastify: '5.x'
})
