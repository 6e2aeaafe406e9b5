import metrics from '@fastify-vitals/metrics'
import timing from '@fastify-vitals/timing'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { adminRoutes } from './admin.ts'
import { catalogueRoutes } from './catalogue.ts'
import { openDatabase } from './database.ts'
import type { Database } from './database.ts'
import { Faults } from './faults.ts'
import { faultyDatabase } from './faulty-database.ts'
import { orderRoutes } from './orders.ts'
import { addProtection } from './protection.ts'
import { quoteRoutes } from './quotes.ts'
import { seed } from './seed.ts'
import { startPriceService } from './upstream.ts'
import type { PriceService } from './upstream.ts'
import { watchedDatabase } from './watched-database.ts'

export interface ShopOptions {
  /** PostgreSQL to use; an embedded one when left out. */
  readonly databaseUrl?: string | undefined
  /** Schema of the tables on a PostgreSQL server. Default `vitals_shop`. */
  readonly databaseSchema?: string
  /** Lets whoever has it see figures and switch faults; without it the admin routes are off. */
  readonly adminToken?: string | undefined
  /** Lowest level that is logged. Default `warn`. */
  readonly logLevel?: string
}

/** The shop: not listening yet, with its database filled and its price service running. */
export async function buildApp(options: ShopOptions = {}): Promise<FastifyInstance> {
  const app = Fastify({
    logger: { level: options.logLevel ?? 'warn' },
    // a proxy on this machine may tell whom a request is from, and nobody else
    trustProxy: 'loopback',
    forceCloseConnections: 'idle'
  })
  try {
    await addVitals(app)
    await addProtection(app)
    const faults = new Faults()
    faults.onChange((name, isOn) => app.log.info(`fault ${name} is ${isOn ? 'on' : 'off'}`))
    const prices = await startPriceService(app, faults)
    const opened = await openDatabase(options.databaseUrl, options.databaseSchema ?? 'vitals_shop')
    app.addHook('onClose', async () => await opened.close())
    await seed(opened)
    const database = faultyDatabase(watchedDatabase(opened, app.vitals), faults)
    addRoutes(app, database, prices, faults)
    await app.register(adminRoutes, { prefix: '/admin', token: options.adminToken, faults })
    return app
  } catch (error) {
    // what was opened before it failed must not keep the process
    await app.close()
    throw error
  }
}

async function addVitals(app: FastifyInstance): Promise<void> {
  await app.register(metrics, { defaultLabels: { service: 'shop' } })
  await app.register(timing, {
    serverTiming: 'on-request',
    allowTrace: (request) => request.ip === '127.0.0.1',
    excludePaths: ['/metrics', '/health', '/admin/*']
  })
  app.vitals.requests.follow()
}

function addRoutes(
  app: FastifyInstance,
  database: Database,
  prices: PriceService,
  faults: Faults
): void {
  addHealthAndMetrics(app, database)
  catalogueRoutes(app, database, faults)
  orderRoutes(app, database, faults)
  quoteRoutes(app, prices, faults)
}

function addHealthAndMetrics(app: FastifyInstance, database: Database): void {
  const health = Type.Object({ status: Type.String(), database: Type.String() })
  app.get('/health', { schema: { response: { 200: health } } }, async () => {
    await database.query('SELECT 1')
    return { status: 'ok', database: database.kind }
  })
  app.get('/metrics', async (request, reply) => {
    const { contentType, body } = app.vitals.scrape(request.headers.accept)
    return await reply.type(contentType).send(body)
  })
}
