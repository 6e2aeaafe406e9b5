import { request } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { CODECS, codecOf } from '../src/codecs.ts'
import type { Encoding } from '../src/codecs.ts'
import plugin from '../src/index.ts'
import type { CompressionOptions } from '../src/index.ts'

/** The encodings of this Node. */
export const AVAILABLE: readonly Encoding[] = [...CODECS.values()].map(({ encoding }) => encoding)

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** As it came over the wire. */
  readonly body: Buffer
}

export interface Asked {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer | string
}

/** An app with the plugin, closed after the test. */
export async function appWith(
  t: Test,
  options: CompressionOptions = {},
  server: FastifyServerOptions = {}
): Promise<FastifyInstance> {
  const app = Fastify(server)
  await app.register(plugin, { adaptive: false, ...options })
  t.teardown(async () => {
    await app.close()
  })
  return app
}

/** Asks over a socket of its own and decodes nothing. */
export async function ask(origin: string, path: string, asked: Asked = {}): Promise<Answer> {
  const { method = 'GET', headers = {}, body } = asked
  return await new Promise((resolve, reject) => {
    const outgoing = request(origin + path, { method, headers, agent: false }, (incoming) => {
      resolve(received(incoming))
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

async function received(incoming: IncomingMessage): Promise<Answer> {
  const { statusCode: status = 0, headers } = incoming
  return { status, headers, body: await buffer(incoming) }
}

/** The body as it was before all its encodings. */
export async function decoded({ headers, body }: Answer): Promise<string> {
  const encoding = headers['content-encoding']
  if (encoding === undefined) return body.toString()
  return (await through(codecOf(encoding as Encoding).decompressStream(), body)).toString()
}

export async function encoded(encoding: Encoding, body: Buffer | string): Promise<Buffer> {
  const codec = codecOf(encoding)
  return await through(codec.compressStream(codec.settings(1, undefined)), body)
}

async function through(
  stream: Readable & NodeJS.WritableStream,
  body: Buffer | string
): Promise<Buffer> {
  const result = buffer(stream)
  stream.end(body)
  await finished(stream, { readable: false })
  return await result
}

/** JSON that compresses about as well as an API's. */
export function jsonText(bytes: number, seed: number = 1): string {
  const items: unknown[] = []
  for (let i = 0, length = 0; length < bytes; i++) {
    const item = {
      id: (i * 7919 * seed) % 1_000_003,
      name: `item ${i % 17}`,
      tags: ['a', 'b'],
      ok: i % 3 === 0
    }
    items.push(item)
    length += JSON.stringify(item).length + 1
  }
  return JSON.stringify(items)
}

export interface CompressionJson {
  responses: number
  bytes_before: number
  bytes_after: number
  bytes_saved: number
  ratio_percent: number | null
  cpu_ms: number
  cache_hits: number
  routes: {
    method: string
    route: string
    encoding: string
    responses: number
    bytes_before: number
    bytes_after: number
    bytes_saved: number
    cpu_ms: number
    cache_hits: number
    recommendation: string | null
  }[]
  missing: { route: string; bytes_sent: number; saved_percent: number }[]
  skipped: Record<string, number>
  not_modified: number
  cache: { bytes: number; entries: number }
  load: { state: string; utilisation_percent: number }
  open_streams: number
  request_decompressions: Record<string, number>
}

export function view(app: FastifyInstance): CompressionJson {
  return app.vitals.views.get('compression')!.read() as CompressionJson
}
