import { availableParallelism } from 'node:os'
import { VitalsDeclarationError, ensureVitals, guarded } from '@fastify-vitals/metrics'
import type { Vitals } from '@fastify-vitals/metrics'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import { CompressedRoutes } from './compressed-routes.ts'
import type { KnownRoute } from './compressed-routes.ts'
import { CompressionMetrics } from './compression-metrics.ts'
import { Compressor } from './compressor.ts'
import { compressionAdvice } from './detectors.ts'
import { Encoders } from './encoder.ts'
import type { Encoder } from './encoder.ts'
import { LoadLevel } from './load-level.ts'
import { declareGauges } from './gauges.ts'
import { NAME, resolveCompressionOptions } from './options.ts'
import type {
  CompressionOptions,
  ResolvedCompressionOptions,
  RouteCompressionOptions
} from './options.ts'
import { PayloadCache } from './payload-cache.ts'
import { StreamCompressor } from './stream-compressor.ts'
import { utilisationMeter } from './utilisation.ts'
import { compressionView } from './views.ts'

declare module 'fastify' {
  interface FastifyReply {
    /** Sends a payload compressed, if the client takes it; also where `global` is `false`. */
    compress(payload: unknown): FastifyReply
  }
  interface FastifyContextConfig {
    /** `false`: bodies of this route are sent as they are. Options: they differ from the plugin's. */
    compression?: boolean | RouteCompressionOptions
  }
}

/** What the plugins of one hub share: scopes beside each other may each have their own options. */
interface Instance {
  readonly metrics: CompressionMetrics
  readonly routes: KnownRoute[]
  readonly parts: CompressionParts[]
}

/** What one registration of the plugin consists of. */
export interface CompressionParts {
  readonly compressor: Compressor
  readonly streams: StreamCompressor
  readonly cache: PayloadCache<Encoder> | undefined
  readonly load: LoadLevel
}

const now = (): number => performance.now()

const INSTANCES = new WeakMap<Vitals, Instance>()

const plugin: FastifyPluginAsync<CompressionOptions> = async (app, given) => {
  if (app.hasReplyDecorator('compress')) {
    throw new VitalsDeclarationError(
      `${NAME}: something compresses here already (this plugin, or @fastify/compress); register one of them, once`
    )
  }
  const options = resolveCompressionOptions(given)
  const vitals = await ensureVitals(app)
  const instance = INSTANCES.get(vitals) ?? declare(vitals)
  const parts = partsOf(options)
  instance.parts.push(parts)
  const onCallbackError = callbackErrors(app, instance.metrics)
  if (options.adaptive) watchLoad(app, options, parts.load, onCallbackError)
  addRoutes(app, options, instance, parts, onCallbackError)
  app.addHook('onClose', async () => {
    parts.cache?.clear()
    instance.parts.splice(instance.parts.indexOf(parts), 1)
  })
}

function declare(vitals: Vitals): Instance {
  const instance: Instance = { metrics: new CompressionMetrics(vitals), routes: [], parts: [] }
  declareGauges(vitals, instance.parts)
  vitals.views.add(compressionView(instance.metrics, instance.routes, instance.parts))
  vitals.detectors.add(compressionAdvice(instance.routes))
  INSTANCES.set(vitals, instance)
  return instance
}

function partsOf(options: ResolvedCompressionOptions): CompressionParts {
  const { cacheBytes, maxSyncMs, maxPending } = options
  const cache = cacheBytes === 0 ? undefined : new PayloadCache<Encoder>(cacheBytes)
  return {
    cache,
    compressor: new Compressor({
      maxSyncMs,
      maxPending,
      cache,
      cores: availableParallelism(),
      now
    }),
    streams: new StreamCompressor(),
    load: new LoadLevel(options)
  }
}

type OnCallbackError = (callback: string, error: unknown) => void

/** Counts what throws in the user's functions, and logs the first of each. */
function callbackErrors(app: FastifyInstance, metrics: CompressionMetrics): OnCallbackError {
  const logged = new Set<string>()
  return (callback, error) => {
    metrics.callbackErrors.with({ callback }).add()
    if (!logged.has(callback)) {
      app.log.warn({ err: error }, `${NAME}: ${callback} threw; this is logged once`)
    }
    logged.add(callback)
  }
}

function watchLoad(
  app: FastifyInstance,
  options: ResolvedCompressionOptions,
  load: LoadLevel,
  onCallbackError: OnCallbackError
): void {
  const read =
    options.utilisation === undefined
      ? utilisationMeter()
      : guarded(options.utilisation, NaN, (error) => onCallbackError('utilisation', error))
  const timer = setInterval(() => load.observe(read()), options.loadSampleMs)
  timer.unref()
  app.addHook('onClose', async () => clearInterval(timer))
}

function addRoutes(
  app: FastifyInstance,
  options: ResolvedCompressionOptions,
  { metrics, routes: known }: Instance,
  { compressor, streams, cache, load }: CompressionParts,
  onCallbackError: OnCallbackError
): void {
  const asked = new WeakSet<FastifyReply>()
  const encoders = new Encoders()
  app.decorateReply('compress', function compress(this: FastifyReply, payload: unknown) {
    asked.add(this)
    return this.send(payload)
  })
  const shared = {
    compressor,
    streams,
    cache,
    load: () => load.state,
    cheapest: (encoder: Encoder) => encoders.cheapest(encoder)
  }
  const bodyLimit = app.initialConfig.bodyLimit ?? 1_048_576
  const routes = new CompressedRoutes(
    options,
    { metrics, encoders, shared, bodyLimit, now, onCallbackError, asked },
    known
  )
  app.addHook('onRoute', (route) => routes.adopt(route))
}

/**
 * Compresses responses and decodes request bodies.
 * @throws VitalsOptionError for options it can't work with
 */
export const compression: FastifyPluginAsync<CompressionOptions> = fp(plugin, {
  name: NAME,
  fastify: '5.x'
})
