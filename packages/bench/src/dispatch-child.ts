// Sends requests through one variant without sockets or a network: what is left is Fastify and the
// plugins, so small differences show. Tells the processor time per request, the median of batches.
import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Writable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { median } from './statistics.ts'
import { PATH, buildApp, variantNamed } from './variants.ts'

const WARM_UP = 20_000
const BATCHES = 7
const BATCH = 10_000

/** Takes what is written and says it is done, as a fast socket would. */
class Sink extends Writable {
  readonly remoteAddress = '127.0.0.1'
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
  }
  setTimeout(): this {
    return this
  }
}

const sink = new Sink()
sink.setMaxListeners(0)

function request(app: FastifyInstance): Promise<void> {
  return new Promise((resolve) => {
    const incoming = new IncomingMessage(sink as unknown as Socket)
    incoming.method = 'GET'
    incoming.url = PATH
    incoming.httpVersion = '1.1'
    incoming.httpVersionMajor = 1
    incoming.httpVersionMinor = 1
    incoming.rawHeaders = ['host', 'localhost', 'accept', '*/*', 'user-agent', 'bench']
    const response = new ServerResponse(incoming)
    response.assignSocket(sink as unknown as Socket)
    // what Node's server does: a response lets its socket go and closes once it has finished
    response.on('finish', () => {
      response.detachSocket(sink as unknown as Socket)
      process.nextTick(() => {
        response.destroyed = true
        response.emit('close')
        resolve()
      })
    })
    app.routing(incoming, response)
  })
}

async function batch(app: FastifyInstance, requests: number): Promise<number> {
  const before = process.cpuUsage()
  for (let i = 0; i < requests; i++) await request(app)
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
