import { getHeapStatistics } from 'node:v8'
import { VitalsDeclarationError, ensureVitals } from '@fastify-vitals/metrics'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { Admission } from './admission.ts'
import { overloadDetector } from './detectors.ts'
import { GradientLimit } from './gradient-limit.ts'
import { Guards } from './guards.ts'
import type { Guard } from './guards.ts'
import { LoopWatch } from './loop-watch.ts'
import { NAME, resolvePluginOptions } from './options.ts'
import type { OverloadOptions, ResolvedOverloadOptions, RouteOverloadOptions } from './options.ts'
import { OverloadMetrics, declareGauges } from './overload-metrics.ts'
import { Overload } from './overload.ts'
import { Partition } from './partition.ts'
import { ProtectedRoutes } from './protected-routes.ts'
import { Refusals } from './refusals.ts'
import { Saturation } from './saturation.ts'
import { overloadView } from './views.ts'
import { addWork } from './work/index.ts'
import type { Work } from './work/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** How full this process is, and what it does about it. */
    overload: OverloadState
  }
  interface FastifyContextConfig {
    /** How requests of this route are held back under overload; `false`: never. */
    overload?: false | RouteOverloadOptions
  }
}

/** What an app may ask of its overload protection. */
export interface OverloadState {
  /** How many requests are let in at once. */
  readonly limit: number
  readonly inFlight: number
  readonly waiting: number
  /** 0–1, smoothed over seconds. */
  readonly saturationRatio: number
}

const LOOK_EVERY_MS = 100

const now = (): number => performance.now()

const plugin: FastifyPluginAsync<OverloadOptions> = async (app, given) => {
  if (app.hasDecorator('overload')) {
    throw new VitalsDeclarationError(`${NAME} is already registered here; register it once`)
  }
  const options = resolvePluginOptions(given)
  const vitals = await ensureVitals(app)
  const partitions = partitionsOf(options)
  const metrics = new OverloadMetrics(vitals)
  const work = addWork(app, vitals, options.work)
  const overload = makeOverload(app, options, partitions, metrics, work)
  app.decorate('overload', overload)
  const routes = new ProtectedRoutes(
    overload,
    options,
    partitions,
    partitions.get(REST)!,
    callbackErrors(app, metrics)
  )
  app.addHook('onRoute', (route) => routes.adopt(route))
  declareGauges(vitals, overload)
  vitals.views.add(overloadView(overload, partitions))
  vitals.detectors.add(overloadDetector(overload))
}

/** Partition of those that name none: nobody else can name it. */
const REST = ''

function partitionsOf({ partitions }: ResolvedOverloadOptions): ReadonlyMap<string, Partition> {
  const named = Object.entries(partitions)
  const left = named.reduce((rest, [, share]) => rest - share, 1)
  return new Map(
    [...named, [REST, Math.max(0, left)] as const].map(([name, share]) => [
      name,
      new Partition(name, share)
    ])
  )
}

function makeOverload(
  app: FastifyInstance,
  options: ResolvedOverloadOptions,
  partitions: ReadonlyMap<string, Partition>,
  metrics: OverloadMetrics,
  work: Work
): Overload {
  const limit = new GradientLimit(limitOptions(options), now())
  const loop = new LoopWatch(LOOK_EVERY_MS, now())
  const overload = new Overload({
    admission: makeAdmission(app, options, limit, [...partitions.values()]),
    limit,
    guards: new Guards(guardsOf(options, loop)),
    loop,
    saturation: new Saturation(LOOK_EVERY_MS),
    metrics,
    refusals: new Refusals(options.retryAfterSeconds),
    isDryRun: options.dryRun,
    workRatio: () => work.saturation,
    now
  })
  const timer = setInterval(() => overload.look(), LOOK_EVERY_MS)
  timer.unref()
  app.addHook('onClose', async () => clearInterval(timer))
  return overload
}

function makeAdmission(
  app: FastifyInstance,
  { queue, turnMs, longLivedMs }: ResolvedOverloadOptions,
  limit: GradientLimit,
  partitions: readonly Partition[]
): Admission {
  let sweep: NodeJS.Timeout | undefined
  let isNews = false
  app.server.on('connection', () => (isNews = true))
  app.addHook('onClose', async () => clearTimeout(sweep))
  return new Admission(
    { ...queue, maxQueueLength: queue.maxLength, turnMs, longLivedMs },
    {
      limit,
      partitions,
      now,
      hasNews() {
        const wasNews = isNews
        isNews = false
        return wasNews
      },
      soon: (callback) => void setImmediate(callback),
      later(callback, ms) {
        sweep = setTimeout(callback, ms)
        sweep.unref()
      }
    }
  )
}

function limitOptions({ limit }: ResolvedOverloadOptions): GradientLimitOptions {
  return { ...limit, minLimit: limit.min, maxLimit: limit.max, initialLimit: limit.initial }
}

type GradientLimitOptions = ConstructorParameters<typeof GradientLimit>[0]

function guardsOf({ guards }: ResolvedOverloadOptions, loop: LoopWatch): Guard[] {
  const { maxEventLoopDelayMs, maxUtilisation, maxHeapRatio, maxRssBytes } = guards
  const all: (Omit<Guard, 'limit'> & { limit: number | undefined })[] = [
    { name: 'event_loop_delay_ms', limit: maxEventLoopDelayMs, read: () => loop.delayMs },
    { name: 'utilisation_ratio', limit: maxUtilisation, read: () => loop.utilisation },
    { name: 'heap_ratio', limit: maxHeapRatio, read: heapRatio },
    { name: 'rss_bytes', limit: maxRssBytes, read: () => process.memoryUsage.rss() }
  ]
  return all.filter((guard): guard is Guard => guard.limit !== undefined)
}

function heapRatio(): number {
  const { used_heap_size: used, heap_size_limit: most } = getHeapStatistics()
  return used / most
}

/** Counts what throws in the user's callbacks, and logs the first of each. */
function callbackErrors(
  app: FastifyInstance,
  metrics: OverloadMetrics
): (callback: string, error: unknown) => void {
  const logged = new Set<string>()
  return (callback, error) => {
    metrics.callbackFailed(callback)
    if (!logged.has(callback)) {
      app.log.warn({ err: error }, `${NAME}: ${callback} failed; this is logged once`)
    }
    logged.add(callback)
  }
}

/**
 * Keeps a service quick under more load than it can bear.
 * @throws VitalsOptionError for options it can't work with
 */
export const overload: FastifyPluginAsync<OverloadOptions> = fp(plugin, {
  name: NAME,
  fastify: '5.x'
})
