// Answers requests with JSON through one compression plugin, in a process of its own, without
// sockets: what is left is Fastify, the plugin and zlib. Tells processor time of all threads.
import { spawnSync } from 'node:child_process'
import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { cpus } from 'node:os'
import { Writable } from 'node:stream'
import { constants } from 'node:zlib'
import compression from '@fastify-vitals/compression'
import compress from '@fastify/compress'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { ENCODINGS, VITALS_BR_LEVEL, VITALS_ZLIB_LEVEL } from './compression.ts'
import type { Batch, BatchResult, Subject } from './compression.ts'
import { jsonBody } from './compression-payloads.ts'

const CONCURRENCY = 8
const ONE_CORE_SYNC_BYTES = 65_536
/** By its own formula: an eighth for every core after the first, at least 4 KiB. */
const CORES_SYNC_BYTES = Math.max(
  4096,
  ONE_CORE_SYNC_BYTES >> (3 * (Math.min(cpus().length, 4) - 1))
)

/** Takes everything and says so at once, as a fast network would. */
class Sink extends Writable {
  readonly remoteAddress = '127.0.0.1'
  bytes = 0
  constructor() {
    super({ highWaterMark: 2 ** 24 })
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.bytes += chunk.length
    done()
  }
  setTimeout(): this {
    return this
  }
}

/**
 * A window that holds the largest body, as ours does: with the default of 22 bits, quality 2 in the
 * thread pool faults in fresh pages at every call here, and would be beaten for that alone.
 */
const WINDOW_BITS = 18
const OUR_LEVELS = {
  brotliOptions: {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: VITALS_BR_LEVEL,
      [constants.BROTLI_PARAM_LGWIN]: WINDOW_BITS
    }
  },
  zlibOptions: { level: VITALS_ZLIB_LEVEL }
}

async function register(app: FastifyInstance, subject: Subject): Promise<void> {
  const encodings = [...ENCODINGS]
  const syncThreshold = CORES_SYNC_BYTES
  if (subject === 'vitals') await app.register(compression, { adaptive: false })
  if (subject === '@fastify/compress' || subject === 'control') {
    await app.register(compress, { encodings, syncThreshold })
  }
  if (subject === 'same levels') {
    await app.register(compress, { encodings, syncThreshold, ...OUR_LEVELS })
  }
  if (subject === 'same levels, one core') {
    await app.register(compress, { encodings, syncThreshold: ONE_CORE_SYNC_BYTES, ...OUR_LEVELS })
  }
}

/** What our plugin says that it has spent, in milliseconds. */
function reportedMs(app: FastifyInstance): number {
  if (!app.hasDecorator('vitals')) return 0
  return (app.vitals.views.get('compression')!.read() as { cpu_ms: number }).cpu_ms
}

/** @returns bytes sent, headers included */
function ask(app: FastifyInstance, encoding: string): Promise<number> {
  const sink = new Sink()
  const socket = sink as unknown as Socket
  return new Promise((resolve) => {
    const incoming = new IncomingMessage(socket)
    Object.assign(incoming, { method: 'GET', url: '/', httpVersion: '1.1' })
    incoming.httpVersionMajor = 1
    incoming.httpVersionMinor = 1
    incoming.rawHeaders = ['host', 'localhost', 'accept-encoding', encoding]
    incoming.headers = { host: 'localhost', 'accept-encoding': encoding }
    const response = new ServerResponse(incoming)
    response.assignSocket(socket)
    response.on('finish', () => {
      response.detachSocket(socket)
      process.nextTick(() => {
        response.destroyed = true
        response.emit('close')
        resolve(sink.bytes)
      })
    })
    app.routing(incoming, response)
  })
}

let seed = 1
let bodies: readonly string[] = ['']
let sent = 0

async function run({ bytes, encoding, isRepeated, requests }: Batch): Promise<BatchResult> {
  const made = isRepeated ? 1 : requests
  bodies = Array.from({ length: made }, () => jsonBody(bytes, isRepeated ? 1 : seed++))
  sent = 0
  // what making the bodies left behind is not the plugin's
  // (a major collection would also drop code that was not used lately)
  globalThis.gc?.({ type: 'minor', execution: 'sync' })
  let left = requests
  let bytesSent = 0
  const reportedBefore = reportedMs(app)
  const before = process.cpuUsage()
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const bytesOfOne = await ask(app, encoding)
      bytesSent += bytesOfOne
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
  const { user, system } = process.cpuUsage(before)
  return {
    cpuUs: (user + system) / requests,
    reportedUs: ((reportedMs(app) - reportedBefore) * 1000) / requests,
    bytesBefore: bodies.reduce((sum, body) => sum + Buffer.byteLength(body), 0) / made,
    bytesAfter: bytesSent / requests
  }
}

// it was put on one core, where there is nobody for the thread pool to run beside
spawnSync('taskset', ['-acp', `0-${cpus().length - 1}`, String(process.pid)])
const app = Fastify()
await register(app, process.argv[2] as Subject)
app.get('/', (_request, reply) => {
  reply.type('application/json; charset=utf-8').send(bodies[sent++ % bodies.length])
})
await app.ready()
process.on('message', (message) => {
  void run(JSON.parse(message as string) as Batch).then((result) => process.send?.(result))
})
process.send?.('ready')
