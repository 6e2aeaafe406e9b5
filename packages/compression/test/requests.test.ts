import { request } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import type { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createBrotliCompress, createGzip, gzipSync } from 'node:zlib'
import { eventually, served } from '@fastify-vitals/testing'
import type { FastifyInstance } from 'fastify'
import fc from 'fast-check'
import t from 'tap'
import type { Test } from 'tap'
import { decodeBody } from '../src/body-decoder.ts'
import type { Decoded } from '../src/body-decoder.ts'
import { codecOf } from '../src/codecs.ts'
import type { CompressionOptions } from '../src/index.ts'
import { AVAILABLE, appWith, ask, encoded, jsonText, view } from './clients.ts'
import type { Answer } from './clients.ts'

const MEGABYTE = 1_048_576

/** An app that tells the length of what it was sent. */
async function lengthApp(
  t: Test,
  options: CompressionOptions = {},
  bodyLimit: number = MEGABYTE
): Promise<FastifyInstance> {
  const app = await appWith(t, options, { bodyLimit })
  app.post('/', async ({ body }) => ({ length: JSON.stringify(body).length }))
  return app
}

async function post(origin: string, encoding: string, body: Buffer): Promise<Answer> {
  const headers = { 'content-type': 'application/json', 'content-encoding': encoding }
  return await ask(origin, '/', { method: 'POST', headers, body })
}

function said({ body }: Answer): Record<string, unknown> {
  return JSON.parse(body.toString()) as Record<string, unknown>
}

t.test(
  'request bodies are decoded, by any encoding, in any case, and one on top of another',
  async (t) => {
    const app = await lengthApp(t)
    const { origin } = await served(app)
    const json = jsonText(20_000)
    for (const encoding of AVAILABLE) {
      const body = await encoded(encoding, json)
      t.same(said(await post(origin, encoding, body)), { length: json.length }, encoding)
      t.equal((await post(origin, encoding.toUpperCase(), body)).status, 200)
    }
    const twice = await encoded('br', gzipSync(json))
    t.same(said(await post(origin, 'gzip, br', twice)), { length: json.length })
    t.same(said(await post(origin, 'identity', Buffer.from(json))), { length: json.length })
    t.equal(view(app).request_decompressions['ok'], AVAILABLE.length * 2 + 1)
  }
)

t.test('an encoding nobody knows is a 415 that says what is known, so are too many', async (t) => {
  const app = await lengthApp(t, { encodings: ['br', 'gzip'] })
  const { origin } = await served(app)
  for (const encoding of [
    'snappy',
    'deflate',
    'gzip, gzip, gzip',
    'gzip, snappy',
    '*',
    'gzip;q=1'
  ]) {
    const answer = await post(origin, encoding, gzipSync('{}'))
    t.equal(answer.status, 415, encoding)
    t.equal(answer.headers['accept-encoding'], 'br, gzip')
    t.match(said(answer), { code: 'VITALS_REQUEST_ENCODING_UNSUPPORTED' })
  }
  t.equal(view(app).request_decompressions['unsupported'], 6)
  const snapshot = app.vitals.snapshot()['http_request_decompressions_total']!
  t.same(
    snapshot.map(({ labels }) => labels['encoding']),
    ['other'],
    'no label comes from a client'
  )
})

t.test('broken, truncated and mislabelled bodies are a 400', async (t) => {
  const app = await lengthApp(t)
  const { origin } = await served(app)
  const good = gzipSync(jsonText(5000))
  const flipped = Buffer.from(good)
  flipped[200] = flipped[200]! ^ 0xff
  for (const [what, encoding, body] of [
    ['truncated', 'gzip', good.subarray(0, 100)],
    ['flipped', 'gzip', flipped],
    ['plain', 'br', Buffer.from('{"plain":true}')],
    ['gzip as deflate', 'deflate', good]
  ] as const) {
    const answer = await post(origin, encoding, body)
    t.equal(answer.status, 400, what)
    t.match(said(answer), { code: 'VITALS_REQUEST_BODY_CORRUPT' }, what)
  }
  t.equal(view(app).request_decompressions['corrupt'], 4)
})

t.test('whatever bytes come, the answer is a 400 or a 200, and nothing else happens', async (t) => {
  const app = await lengthApp(t)
  await app.ready()
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.constantFrom(...AVAILABLE),
      async (bytes, encoding) => {
        const headers = { 'content-type': 'application/json', 'content-encoding': encoding }
        const { statusCode } = await app.inject({
          method: 'POST',
          url: '/',
          headers,
          payload: Buffer.from(bytes)
        })
        return statusCode === 400 || statusCode === 200
      }
    ),
    { numRuns: 60 }
  )
})

t.test(
  'a body that is too large once decoded is a 413, by the bodyLimit of its route or our own',
  async (t) => {
    const app = await lengthApp(t, { maxRequestRatio: 1e6 }, 100_000)
    const own = { compression: { maxRequestBytes: 50_000 } }
    app.post('/own', { config: own }, async () => 'fine')
    app.post('/wide', { bodyLimit: 10 * MEGABYTE }, async () => 'fine')
    const { origin } = await served(app)
    const to = async (path: string, bytes: number): Promise<number> => {
      const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' }
      const body = gzipSync(JSON.stringify('x'.repeat(bytes)))
      return (await ask(origin, path, { method: 'POST', headers, body })).status
    }
    t.equal(await to('/', 99_000), 200)
    t.equal(await to('/', 101_000), 413)
    t.equal(await to('/own', 49_000), 200)
    t.equal(await to('/own', 51_000), 413)
    t.equal(await to('/wide', 5_000_000), 200)
    t.equal(view(app).request_decompressions['too_large'], 2)
  }
)

t.test('a body that becomes suspiciously much larger is a 413, a small one may', async (t) => {
  const app = await lengthApp(t, { maxRequestRatio: 100 }, 64 * MEGABYTE)
  const { origin } = await served(app)
  const zeros = (bytes: number): Buffer => gzipSync(JSON.stringify('0'.repeat(bytes)))
  t.equal((await post(origin, 'gzip', zeros(500_000))).status, 200)
  const answer = await post(origin, 'gzip', zeros(5_000_000))
  t.equal(answer.status, 413)
  t.match(said(answer), { code: 'VITALS_REQUEST_BODY_TOO_LARGE' })
  t.equal(view(app).request_decompressions['ratio'], 1)
})

/** Zeros, compressed, without ever holding them. */
async function bomb(bytes: number, compressor: Transform): Promise<Buffer> {
  const chunk = Buffer.alloc(MEGABYTE)
  const parts: Buffer[] = []
  let left = bytes / MEGABYTE
  const zeros = new Readable({
    read() {
      this.push(left-- > 0 ? chunk : null)
    }
  })
  await pipeline(zeros, compressor, async (compressed: AsyncIterable<Buffer>) => {
    for await (const part of compressed) parts.push(part)
  })
  return Buffer.concat(parts)
}

t.test('a bomb of 10 GB in 10 MB is refused at once, in flat memory', async (t) => {
  const app = await lengthApp(t, {}, 64 * MEGABYTE)
  const { origin } = await served(app)
  // one gzip member of 256 MB, as often as it takes: members in a row are one file
  const member = await bomb(256 * MEGABYTE, createGzip({ level: 9 }))
  const whole = Buffer.concat(Array.from({ length: 40 }, () => member))
  t.ok(whole.length > 9e6 && whole.length < 11e6, `${whole.length} bytes`)
  const before = process.memoryUsage()
  let most = 0
  const watch = setInterval(() => {
    const { external, heapUsed } = process.memoryUsage()
    most = Math.max(most, external + heapUsed - before.external - before.heapUsed)
  }, 5)
  t.teardown(() => clearInterval(watch))
  const answer = await post(origin, 'gzip', whole)
  clearInterval(watch)
  t.equal(answer.status, 413)
  t.ok(most < 48 * MEGABYTE, `${most} bytes at most`)
  const series = app.vitals.snapshot()['http_request_decompression_bytes_total']!
  const out = series.find(({ labels }) => labels['direction'] === 'out')
  t.ok(out!.value < 4 * MEGABYTE, `decoded ${out!.value} bytes of it`)
})

t.test('a brotli bomb inside of gzip is refused as well', async (t) => {
  const app = await lengthApp(t)
  const { origin } = await served(app)
  const inner = await bomb(
    64 * MEGABYTE,
    createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: 4 } })
  )
  const answer = await post(origin, 'br, gzip', gzipSync(inner))
  t.equal(answer.status, 413)
})

t.test(
  'a client that goes on sending after a refusal gets to read it, and is cut off',
  async (t) => {
    const app = await lengthApp(t, { maxRequestBytes: 10_000 }, 64 * MEGABYTE)
    const { port } = await served(app)
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    let answer = ''
    socket.on('data', (chunk) => (answer += chunk.toString()))
    socket.write(
      'POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 9000000\r\n\r\n'
    )
    socket.write(gzipSync(JSON.stringify('x'.repeat(20_000))))
    await eventually(() => answer.includes('VITALS_REQUEST_BODY_TOO_LARGE'))
    t.match(answer, /^HTTP\/1\.1 413 /)
    await eventually(() => socket.closed || !socket.write(Buffer.alloc(65_536)))
    await eventually(async () => (await connectionsOf(app)) === 0)
  }
)

t.test('a client that goes away in the middle of its body leaves nothing behind', async (t) => {
  const app = await lengthApp(t)
  const { origin } = await served(app)
  const body = gzipSync(jsonText(200_000))
  const headers = {
    'content-type': 'application/json',
    'content-encoding': 'gzip',
    'content-length': String(body.length)
  }
  const client = request(origin, { method: 'POST', headers, agent: false })
  client.on('error', () => {})
  client.write(body.subarray(0, body.length >> 1))
  await eventually(async () => (await connectionsOf(app)) === 1)
  client.destroy()
  await eventually(() => view(app).request_decompressions['aborted'] === 1)
})

async function connectionsOf(app: FastifyInstance): Promise<number> {
  return await new Promise((resolve) => {
    app.server.getConnections((_error, count) => resolve(count))
  })
}

t.test('decoders are let go of, however a body ends', async (t) => {
  const ends: [string, Buffer, string][] = [
    ['ok', gzipSync('fine'), 'ok'],
    ['broken', Buffer.from('no gzip'), 'corrupt'],
    ['too large', gzipSync('x'.repeat(1000)), 'too_large']
  ]
  for (const [what, body, result] of ends) {
    const stage = codecOf('gzip').decompressStream()
    const settled: Decoded[] = []
    const limits = { maxBytes: 100, maxRatio: 1000 }
    const raw = Readable.from([body])
    const decodedBody = decodeBody(raw, [stage], 'gzip', limits, (each) => settled.push(each))
    decodedBody.resume()
    await eventually(() => stage.destroyed && decodedBody.destroyed)
    t.same(
      settled.map((each) => each.result),
      [result],
      what
    )
    t.equal(settled[0]!.bytesBefore, body.length)
  }
})

t.test('a body that nobody reads does not end the process', async (t) => {
  const app = await lengthApp(t)
  const { origin } = await served(app)
  const answer = await ask(origin, '/', {
    method: 'POST',
    headers: { 'content-type': 'image/png', 'content-encoding': 'gzip' },
    body: 'no gzip at all'
  })
  t.equal(answer.status, 415)
})

t.test('routes may leave their bodies encoded', async (t) => {
  const app = await appWith(t, { decompressRequests: false })
  app.addContentTypeParser(
    'application/x',
    { parseAs: 'buffer' },
    async (_request: unknown, body: unknown) => body
  )
  app.post('/raw', async ({ body }) => ({ bytes: (body as Buffer).length }))
  const config = { compression: { decompressRequests: true } }
  app.post('/decoded', { config }, async ({ body }) => ({ bytes: (body as Buffer).length }))
  const { origin } = await served(app)
  const body = gzipSync('x'.repeat(1000))
  const headers = { 'content-type': 'application/x', 'content-encoding': 'gzip' }
  const to = async (path: string): Promise<unknown> =>
    said(await ask(origin, path, { method: 'POST', headers, body }))
  t.same(await to('/raw'), { bytes: body.length })
  t.same(await to('/decoded'), { bytes: 1000 })
})

t.test('many encoded bodies at once each arrive whole', async (t) => {
  const app = await lengthApp(t)
  const { origin } = await served(app)
  t.type((app.server.address() as AddressInfo).port, 'number')
  const answers = await Promise.all(
    Array.from({ length: 50 }, async (_, i) => {
      const json = jsonText(100 + i * 2000)
      const encoding = AVAILABLE[i % AVAILABLE.length]!
      const answer = await post(origin, encoding, await encoded(encoding, json))
      return said(answer)['length'] === json.length
    })
  )
  t.ok(answers.every(Boolean))
})
