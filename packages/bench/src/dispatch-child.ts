// Sends requests through one variant without sockets or a network: what is left is Fastify and the
// plugins, so small differences show. Tells the processor time per request, the median of batches.
import type { FastifyInstance } from 'fastify'
import { dispatch } from './dispatch.ts'
import { median } from './statistics.ts'
import { PATH, buildApp, variantNamed } from './variants.ts'

const WARM_UP = 20_000
const BATCHES = 7
const BATCH = 10_000

const HEADERS = ['host', 'localhost', 'accept', '*/*', 'accept-encoding', 'gzip, deflate, br']

async function batch(app: FastifyInstance, requests: number): Promise<number> {
  const before = process.cpuUsage()
  for (let i = 0; i < requests; i++) await dispatch(app, PATH, HEADERS)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / requests
}

const app = await buildApp(variantNamed(process.argv[2] ?? ''))
await app.ready()
await batch(app, WARM_UP)
const batches: number[] = []
for (let i = 0; i < BATCHES; i++) batches.push(await batch(app, BATCH))
await app.close()
process.send?.({ cpuUs: median(batches) })
