import { createHash } from 'node:crypto'
import { get } from 'node:http'
import { Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { brotliDecompressSync, gzipSync } from 'node:zlib'
import compress from '@fastify/compress'
import metrics from '@fastify-vitals/metrics'
import { eventually, pluginProblems, served } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import t from 'tap'
import plugin from '../src/index.ts'
import type { CompressionOptions } from '../src/index.ts'
import { AVAILABLE, appWith, ask, decoded, jsonText, view } from './clients.ts'

const BR = { headers: { 'accept-encoding': 'br' } }
const GZIP = { headers: { 'accept-encoding': 'gzip' } }
const TEXT = 'some text '.repeat(500)

t.test(
  'it behaves as every plugin here does, and names what is wrong with an option',
  async (t) => {
    t.same(
      await pluginProblems<CompressionOptions>(plugin, {
        validOptions: { encodings: ['gzip'], levels: { gzip: 1 }, minBytes: 100 },
        badOptions: [
          { options: { encodings: ['snappy'] }, message: /"encodings" must be.*got \["snappy"\]/ },
          { options: { encodings: [] }, message: /"encodings".*got \[\]/ },
          { options: { encodings: ['gzip', 'gzip'] }, message: /"encodings"/ },
          { options: { levels: { br: 12 } }, message: /"levels.br" must be.*<= 11.*got 12/ },
          { options: { levels: { gzip: 0 } }, message: /"levels.gzip" must be.*>= 1/ },
          { options: { levels: { lz4: 1 } }, message: /"levels.lz4" is unknown/ },
          { options: { minBytes: -1 }, message: /"minBytes" must be.*got -1/ },
          { options: { contentTypes: ['json'] }, message: /"contentTypes".*json/ },
          { options: { cacheBytes: -1 }, message: /"cacheBytes"/ },
          { options: { shouldCompress: true }, message: /"shouldCompress" must be a function/ },
          { options: { maxRequestBytes: 0 }, message: /"maxRequestBytes" must be/ },
          { options: { lowerAbove: 0.5 }, message: /"restoreBelow" must be less than lowerAbove/ },
          { options: { skipAbove: 0.8 }, message: /"skipAbove" must be at least lowerAbove/ },
          { options: { threshold: 1 }, message: /"threshold" is unknown; allowed: encodings/ }
        ]
      }),
      []
    )
  }
)

t.test('an encoding that this Node does not have refuses to register', async (t) => {
  const app = Fastify()
  const registered = async (): Promise<void> => {
    await app.register(plugin, { encodings: ['zstd'] })
  }
  if (AVAILABLE.includes('zstd')) await t.resolves(registered)
  else await t.rejects(registered, { message: /"encodings" must be what Node v/ })
  await app.close()
})

t.test('with bad options of a route the route is refused, by name', async (t) => {
  const app = await appWith(t)
  const add = (compression: unknown) => (): void => {
    app.get('/x', { config: { compression: compression as boolean } }, async () => 'x')
  }
  t.throws(add({ minBytes: 'a' }), { message: /config\.compression of GET \/x.*"minBytes"/ })
  t.throws(add({ cacheBytes: 1 }), { message: /"cacheBytes" is unknown/ })
  t.throws(add('gzip'), { message: /must be true, false or an object, got "gzip"/ })
  t.throws(add(null), { message: /must be true, false or an object, got null/ })
})

t.test('it is registered once, and not beside @fastify/compress', async (t) => {
  const app = await appWith(t)
  await t.rejects(
    async () => {
      await app.register(plugin)
    },
    {
      code: 'VITALS_DECLARATION_INVALID'
    }
  )
  const other = Fastify()
  await other.register(compress)
  await t.rejects(
    async () => {
      await other.register(plugin)
    },
    {
      message: /@fastify\/compress/
    }
  )
  await other.close()
})

t.test('scopes beside each other have their own options and one set of figures', async (t) => {
  const app = Fastify()
  t.teardown(async () => app.close())
  await app.register(metrics)
  for (const encoding of ['gzip', 'deflate'] as const) {
    app.register(async (scope) => {
      await scope.register(plugin, { encodings: [encoding], adaptive: false })
      scope.get(`/${encoding}`, async () => TEXT)
    })
  }
  const { origin } = await served(app)
  const headers = { 'accept-encoding': 'deflate, gzip' }
  for (const encoding of ['gzip', 'deflate']) {
    t.equal((await ask(origin, `/${encoding}`, { headers })).headers['content-encoding'], encoding)
  }
  t.equal(view(app).responses, 2)
})

for (const encoding of AVAILABLE) {
  t.test(`with ${encoding} real clients get what was sent, byte by byte`, async (t) => {
    const app = await appWith(t)
    const bodies = [
      jsonText(1100),
      jsonText(20_000),
      jsonText(300_000),
      'ünïcödé 漢字 🎉'.repeat(200),
      `80 percent of ${TEXT}`
    ]
    app.get('/text/:n', (request, reply) => {
      const { n } = request.params as { n: string }
      reply.type('text/plain; charset=utf-8').send(bodies[Number(n)])
    })
    app.get('/buffer/:n', (request, reply) => {
      const { n } = request.params as { n: string }
      reply.type('application/json').send(Buffer.from(bodies[Number(n)]!))
    })
    app.get('/stream/:n', (request, reply) => {
      const { n } = request.params as { n: string }
      reply.type('text/plain').send(Readable.from([Buffer.from(bodies[Number(n)]!)]))
    })
    const { origin } = await served(app)
    const headers = { 'accept-encoding': encoding }
    for (const [n, body] of bodies.entries()) {
      for (const kind of ['text', 'buffer', 'stream']) {
        const answer = await ask(origin, `/${kind}/${n}`, { headers })
        t.equal(answer.headers['content-encoding'], encoding, `${kind} ${n}`)
        t.equal(await decoded(answer), body, `${kind} ${n}`)
        t.ok(answer.body.length < Buffer.byteLength(body))
        t.equal(answer.headers.vary, 'accept-encoding')
        if (kind !== 'stream') {
          t.equal(answer.headers['content-length'], String(answer.body.length))
        }
        if (encoding !== 'zstd') {
          const fetched = await fetch(`${origin}/${kind}/${n}`, { headers })
          t.equal(await fetched.text(), body, `fetch ${kind} ${n}`)
        }
      }
    }
  })
}

t.test('a body that only looks compressed at its start is compressed like any other', async (t) => {
  const starts = ['80 percent', 'hb', 'x^', '(4', 'XG']
  const app = await appWith(t)
  const theirs = Fastify()
  await theirs.register(compress, { encodings: ['br'] })
  t.teardown(async () => theirs.close())
  for (const each of [app, theirs]) {
    each.get('/:n', (request, reply) => {
      const { n } = request.params as { n: string }
      reply.type('text/plain').send(starts[Number(n)] + TEXT)
    })
  }
  for (const [n, start] of starts.entries()) {
    const ours = await app.inject({ url: `/${n}`, ...BR })
    t.equal(brotliDecompressSync(ours.rawPayload).toString(), start + TEXT)
    const broken = await theirs.inject({ url: `/${n}`, ...BR })
    t.throws(() => brotliDecompressSync(broken.rawPayload), 'why streams do not go through it')
  }
})

t.test('small bodies are as they were, unless the client refuses that', async (t) => {
  const app = await appWith(t, { minBytes: 1000 })
  app.get('/small', async () => 'a'.repeat(999))
  app.get('/enough', async () => 'a'.repeat(1000))
  app.get('/wide', async () => 'ä'.repeat(500))
  const { origin } = await served(app)
  const small = await ask(origin, '/small', GZIP)
  t.equal(small.headers['content-encoding'], undefined)
  t.equal(small.headers.vary, undefined)
  for (const path of ['/enough', '/wide']) {
    t.equal((await ask(origin, path, GZIP)).headers['content-encoding'], 'gzip', path)
  }
  const headers = { 'accept-encoding': 'gzip, identity;q=0' }
  const forced = await ask(origin, '/small', { headers })
  t.equal(forced.headers['content-encoding'], 'gzip')
  t.equal(await decoded(forced), 'a'.repeat(999))
})

t.test(
  'what the client weighs decides, and every variant says that it depends on that',
  async (t) => {
    const app = await appWith(t)
    app.get('/', async () => TEXT)
    const { origin } = await served(app)
    for (const [accept, encoding] of [
      ['gzip;q=0, *', 'br'],
      ['br;q=0.1, gzip', 'gzip'],
      ['gzip;q=0', undefined],
      ['*;q=0', undefined],
      ['identity', undefined],
      ['', undefined],
      [`${'x,'.repeat(5000)}gzip`, undefined]
    ] as const) {
      const { headers } = await ask(origin, '/', { headers: { 'accept-encoding': accept } })
      t.equal(headers['content-encoding'], encoding, accept.slice(0, 20))
      t.equal(headers.vary, 'accept-encoding')
    }
    t.equal((await ask(origin, '/')).headers['content-encoding'], undefined)
    const asked = { headers: { 'accept-encoding': 'br', 'x-no-compression': '1' } }
    t.equal((await ask(origin, '/', asked)).headers['content-encoding'], undefined)
  }
)

t.test('Vary is merged with what is there, once', async (t) => {
  const app = await appWith(t)
  app.get('/merged', (_request, reply) => reply.header('vary', 'Origin').send(TEXT))
  app.get('/there', (_request, reply) => reply.header('vary', 'Accept-Encoding, origin').send(TEXT))
  app.get('/any', (_request, reply) => reply.header('vary', '*').send(TEXT))
  const { origin } = await served(app)
  for (const [path, vary] of [
    ['/merged', 'Origin, accept-encoding'],
    ['/there', 'Accept-Encoding, origin'],
    ['/any', '*']
  ] as const) {
    for (const asked of [BR, {}]) t.equal((await ask(origin, path, asked)).headers.vary, vary)
  }
})

t.test('a strong ETag becomes weak on what is compressed, and stays on what is not', async (t) => {
  const app = await appWith(t)
  app.get('/strong', (_request, reply) => reply.header('etag', '"abc"').send(TEXT))
  app.get('/weak', (_request, reply) => reply.header('etag', 'W/"abc"').send(TEXT))
  app.get('/stream', (_request, reply) =>
    reply
      .type('text/plain')
      .header('etag', '"abc"')
      .send(Readable.from([TEXT]))
  )
  const { origin } = await served(app)
  for (const path of ['/strong', '/weak', '/stream']) {
    t.equal((await ask(origin, path, BR)).headers.etag, 'W/"abc"', path)
  }
  t.equal((await ask(origin, '/strong')).headers.etag, '"abc"')
})

t.test('Cache-Control: no-transform is respected', async (t) => {
  const app = await appWith(t)
  app.get('/', (_request, reply) =>
    reply.header('cache-control', 'public, No-Transform').header('etag', '"abc"').send(TEXT)
  )
  const { headers } = await ask((await served(app)).origin, '/', BR)
  t.equal(headers['content-encoding'], undefined)
  t.equal(headers.etag, '"abc"')
})

t.test(
  'bytes of unknown kind, pictures and what is compressed already go out as they are',
  async (t) => {
    const app = await appWith(t)
    const bytes = Buffer.alloc(5000, 'a')
    app.get('/octets', (_request, reply) => reply.type('application/octet-stream').send(bytes))
    app.get('/untyped', (_request, reply) => reply.send(bytes))
    app.get('/picture', (_request, reply) => reply.type('image/png').send(bytes))
    app.get('/stream', (_request, reply) => reply.send(Readable.from([bytes])))
    app.get('/digest', (_request, reply) => {
      const digest = createHash('sha256').update(bytes).digest('base64')
      return reply.type('text/plain').header('content-digest', `sha-256=:${digest}:`).send(bytes)
    })
    app.get('/gzipped', (_request, reply) =>
      reply.type('text/plain').header('content-encoding', 'gzip').send(gzipSync(bytes))
    )
    const { origin } = await served(app)
    for (const path of ['/octets', '/untyped', '/picture', '/stream', '/digest']) {
      const answer = await ask(origin, path, BR)
      t.equal(answer.headers['content-encoding'], undefined, path)
      t.same(answer.body, bytes, path)
    }
    t.equal(await decoded(await ask(origin, '/gzipped', BR)), bytes.toString())
  }
)

t.test('a body that would get longer goes out as it is', async (t) => {
  const app = await appWith(t)
  const noise = createHash('shake256', { outputLength: 4000 }).update('x').digest()
  app.get('/', (_request, reply) => reply.type('text/plain').send(noise))
  const answer = await ask((await served(app)).origin, '/', GZIP)
  t.equal(answer.headers['content-encoding'], undefined)
  t.equal(answer.headers.vary, 'accept-encoding')
  t.same(answer.body, noise)
})

t.test('HEAD, 204, 304, 206 and ranges are untouched', async (t) => {
  const app = await appWith(t)
  app.get('/page', async () => TEXT)
  app.route({ method: ['GET', 'HEAD'], url: '/both', handler: async () => TEXT })
  app.get('/204', (_request, reply) => reply.code(204).send())
  app.get('/304', (_request, reply) => reply.code(304).header('etag', '"a"').send())
  app.get('/206', (_request, reply) =>
    reply.code(206).header('content-range', 'bytes 0-4999/9999').type('text/plain').send(TEXT)
  )
  app.get('/range', (_request, reply) =>
    reply
      .header('content-range', 'bytes */9999')
      .type('text/plain')
      .send(Readable.from([TEXT]))
  )
  const { origin } = await served(app)
  for (const path of ['/page', '/both']) {
    const head = await ask(origin, path, { method: 'HEAD', ...BR })
    t.equal(head.headers['content-encoding'], undefined, path)
    t.equal(head.headers['content-length'], String(TEXT.length), path)
  }
  t.equal((await ask(origin, '/both', BR)).headers['content-encoding'], 'br')
  t.equal((await ask(origin, '/304', BR)).headers.etag, '"a"')
  for (const path of ['/204', '/304', '/206', '/range']) {
    const { headers } = await ask(origin, path, BR)
    t.equal(headers['content-encoding'], undefined, path)
    t.equal(headers.vary, undefined, path)
  }
})

t.test('server-sent events arrive one by one, whatever contentTypes says', async (t) => {
  const app = await appWith(t, { contentTypes: ['text/*', 'text/event-stream'] })
  const events = new Readable({ read() {} })
  app.get('/', (_request, reply) => reply.type('text/event-stream').send(events))
  const { origin } = await served(app)
  events.push('data: 1\n\n')
  const { headers, body } = await fetch(origin, BR)
  const reader = body!.getReader()
  t.equal(headers.get('content-encoding'), null)
  t.equal(Buffer.from((await reader.read()).value).toString(), 'data: 1\n\n')
  events.push('data: 2\n\n')
  t.equal(Buffer.from((await reader.read()).value).toString(), 'data: 2\n\n')
  events.push(null)
})

t.test('web streams and fetch responses are compressed too', async (t) => {
  const app = await appWith(t)
  const webStream = (): ReadableStream => new Response(TEXT).body!
  app.get('/web', (_request, reply) => reply.type('text/plain').send(webStream()))
  app.get('/response', (_request, reply) =>
    reply.send(new Response(TEXT, { status: 201, headers: { 'content-type': 'text/plain' } }))
  )
  app.get('/empty', (_request, reply) => reply.send(new Response(null, { status: 202 })))
  const { origin } = await served(app)
  for (const [path, status] of [
    ['/web', 200],
    ['/response', 201]
  ] as const) {
    const answer = await ask(origin, path, BR)
    t.equal(answer.status, status)
    t.equal(answer.headers['content-encoding'], 'br', path)
    t.equal(await decoded(answer), TEXT, path)
    const head = await ask(origin, path, { method: 'HEAD', ...BR })
    t.equal(head.headers['content-encoding'], undefined)
  }
  t.equal((await ask(origin, '/empty', BR)).status, 202)
})

t.test('a client that goes away in the middle of a stream frees the memory of zlib', async (t) => {
  const app = await appWith(t)
  let given = 0
  const sources: Readable[] = []
  app.get('/:encoding', (_request, reply) => {
    const source = new Readable({
      read() {
        given++
        this.push(jsonText(50_000, given))
      }
    })
    sources.push(source)
    return reply.type('application/json').send(source)
  })
  const { origin } = await served(app)
  for (const encoding of AVAILABLE) {
    const client = get(`${origin}/${encoding}`, {
      headers: { 'accept-encoding': encoding },
      agent: false
    })
    client.on('error', () => {})
    await new Promise((resolve) => {
      client.on('response', (incoming) => incoming.once('data', () => resolve(incoming.pause())))
    })
    t.equal(view(app).open_streams, 1, encoding)
    client.destroy()
    await eventually(() => view(app).open_streams === 0)
  }
  t.ok(sources.every((source) => source.destroyed))
})

t.test('a stream that fails before its first byte becomes an error that can be read', async (t) => {
  const app = await appWith(t, {}, { logger: false })
  app.get('/', (_request, reply) =>
    reply.type('text/plain').send(
      new Readable({
        read() {
          this.destroy(new Error('the disk is gone'))
        }
      })
    )
  )
  const answer = await ask((await served(app)).origin, '/', GZIP)
  t.equal(answer.status, 500)
  t.equal(answer.headers['content-encoding'], undefined)
  t.match(JSON.parse(answer.body.toString()), { message: 'the disk is gone' })
  t.equal(view(app).open_streams, 0)
})

t.test(
  'with etag, dynamic responses have weak tags and clients that have them get 304',
  async (t) => {
    const app = await appWith(t, { etag: true })
    let body = jsonText(5000)
    app.get('/', (_request, reply) => reply.type('application/json').send(body))
    app.get('/own', (_request, reply) => reply.header('etag', '"own"').send(TEXT))
    app.post('/', async () => 'posted')
    app.get('/lost', (_request, reply) => reply.code(404).send('lost'))
    const { origin } = await served(app)
    const plain = await ask(origin, '/')
    const { etag } = (await ask(origin, '/', BR)).headers
    t.match(etag, /^W\/"[\w-]{27}"$/)
    t.equal(plain.headers.etag, etag, 'all encodings mean the same')
    const again = { headers: { 'accept-encoding': 'br', 'if-none-match': `"x", ${etag}` } }
    const known = await ask(origin, '/', again)
    t.equal(known.status, 304)
    t.equal(known.body.length, 0)
    t.match(known.headers, { etag, vary: 'accept-encoding' })
    for (const name of ['content-encoding', 'content-type', 'content-length']) {
      t.notOk(name in known.headers, name)
    }
    body = jsonText(5000, 2)
    t.equal((await ask(origin, '/', again)).status, 200)
    t.equal((await ask(origin, '/own', { headers: { 'if-none-match': 'W/"own"' } })).status, 304)
    t.equal((await ask(origin, '/', { method: 'POST' })).headers.etag, undefined)
    t.equal((await ask(origin, '/lost')).headers.etag, undefined)
    t.equal(view(app).not_modified, 2)
  }
)

t.test('routes have their own options over those of the plugin', async (t) => {
  const app = await appWith(t, { levels: { gzip: 2 } })
  app.get('/off', { config: { compression: false } }, async () => TEXT)
  app.get('/gzip', { config: { compression: { encodings: ['gzip'] } } }, async () => TEXT)
  app.get('/tiny', { config: { compression: { minBytes: 1 } } }, async () => 'aaaaaaaaaa'.repeat(9))
  app.get(
    '/bytes',
    { config: { compression: { contentTypes: ['application/octet-stream'] } } },
    (_request, reply) => reply.type('application/octet-stream').send(Buffer.alloc(5000))
  )
  const { origin } = await served(app)
  const headers = { 'accept-encoding': 'br, gzip' }
  for (const [path, encoding] of [
    ['/off', undefined],
    ['/gzip', 'gzip'],
    ['/tiny', 'br'],
    ['/bytes', 'br']
  ] as const) {
    t.equal((await ask(origin, path, { headers })).headers['content-encoding'], encoding, path)
  }
})

t.test('routes with secrets are not compressed, or padded by a random length', async (t) => {
  const app = await appWith(t)
  app.get('/secret', { config: { compression: { secret: true } } }, async () => TEXT)
  app.get(
    '/padded',
    { config: { compression: { secret: true, secretPaddingBytes: 200 } } },
    (request, reply) => {
      if ('stream' in (request.query as object))
        return reply.type('text/plain').send(Readable.from([TEXT]))
      return reply.send(TEXT)
    }
  )
  const { origin } = await served(app)
  const headers = { 'accept-encoding': 'br, gzip' }
  t.equal((await ask(origin, '/secret', { headers })).headers['content-encoding'], undefined)
  const lengths = new Set<number>()
  for (let i = 0; i < 30; i++) {
    const answer = await ask(origin, '/padded', { headers })
    t.equal(answer.headers['content-encoding'], 'gzip')
    t.equal(await decoded(answer), TEXT)
    lengths.add(answer.body.length)
  }
  t.ok(lengths.size > 5)
  t.equal((await ask(origin, '/padded', BR)).headers['content-encoding'], undefined)
  t.equal((await ask(origin, '/padded?stream', { headers })).headers['content-encoding'], undefined)
  t.equal(view(app).cache.entries, 0, 'nothing of them is kept')
})

t.test('with global: false only chosen routes and replies are compressed', async (t) => {
  const app = await appWith(t, { global: false })
  app.get('/plain', async () => TEXT)
  app.get('/chosen', { config: { compression: true } }, async () => TEXT)
  app.get('/asked', (_request, reply) => reply.type('text/plain').compress(TEXT))
  app.get('/stream', (_request, reply) => reply.type('text/plain').compress(Readable.from([TEXT])))
  app.get('/json', (_request, reply) => reply.compress({ text: TEXT }))
  const { origin } = await served(app)
  t.equal((await ask(origin, '/plain', BR)).headers['content-encoding'], undefined)
  for (const path of ['/chosen', '/asked', '/stream', '/json']) {
    const answer = await ask(origin, path, BR)
    t.equal(answer.headers['content-encoding'], 'br', path)
    t.match(await decoded(answer), TEXT)
  }
})

t.test(
  'a function may say no, and when it throws that is no too, counted and logged once',
  async (t) => {
    const lines: string[] = []
    const app = await appWith(
      t,
      {
        shouldCompress(request) {
          if (request.url === '/throws') throw new Error('a bug')
          return request.url !== '/no'
        }
      },
      { logger: { level: 'warn', stream: { write: (line: string) => void lines.push(line) } } }
    )
    app.get('/:what', async () => TEXT)
    const { origin } = await served(app)
    t.equal((await ask(origin, '/yes', BR)).headers['content-encoding'], 'br')
    for (const path of ['/no', '/throws', '/throws']) {
      const answer = await ask(origin, path, BR)
      t.equal(answer.headers['content-encoding'], undefined)
      t.equal(answer.body.toString(), TEXT)
    }
    t.equal(lines.filter((line) => line.includes('shouldCompress threw')).length, 1)
    const snapshot = app.vitals.snapshot()
    t.equal(snapshot['http_compression_callback_errors_total']?.[0]?.value, 2)
  }
)

t.test(
  'bodies that come again are answered from the cache, those of routes that say no are not',
  async (t) => {
    const app = await appWith(t)
    app.get('/same', async () => TEXT)
    app.get('/not', { config: { compression: { cache: false } } }, async () => TEXT)
    const { origin } = await served(app)
    for (let i = 0; i < 5; i++) t.equal(await decoded(await ask(origin, '/same', BR)), TEXT)
    t.equal(view(app).cache_hits, 3)
    t.equal(view(app).cache.entries, 1)
    t.equal(await decoded(await ask(origin, '/same', GZIP)), TEXT)
    for (let i = 0; i < 5; i++) await ask(origin, '/not', BR)
    t.equal(view(app).cache_hits, 3)
  }
)

t.test('many responses at once, long and short, each get their own body', async (t) => {
  const app = await appWith(t, { maxSyncMs: 0.1 })
  app.get('/:n', (request, reply) => {
    const n = Number((request.params as { n: string }).n)
    reply.type('application/json').send(jsonText(500 + n * 3000, n))
  })
  const { origin } = await served(app)
  const answers = await Promise.all(
    Array.from({ length: 60 }, async (_, n) => await ask(origin, `/${n % 30}`, BR))
  )
  for (const [i, answer] of answers.entries()) {
    t.equal(await decoded(answer), jsonText(500 + (i % 30) * 3000, i % 30))
  }
})

t.test(
  'while the process is busy the cheapest level is used, at the limit none, and then all again',
  async (t) => {
    let utilisation = 0
    const app = await appWith(t, {
      adaptive: true,
      loadSampleMs: 50,
      utilisation: () => utilisation,
      cacheBytes: 0,
      levels: { br: 9 }
    })
    const body = jsonText(20_000)
    app.get('/', (_request, reply) => reply.type('application/json').send(body))
    const { origin } = await served(app)
    const bytes = async (): Promise<number> => (await ask(origin, '/', BR)).body.length
    const best = await bytes()
    utilisation = 0.9
    await eventually(() => view(app).load.state === 'saturated')
    const cheap = await bytes()
    t.ok(cheap > best && cheap < body.length / 2, `${cheap} after ${best}`)
    utilisation = 1
    await eventually(() => view(app).load.state === 'severe')
    t.equal(await bytes(), body.length)
    t.equal(view(app).skipped['load'], 1)
    utilisation = 0
    await eventually(() => view(app).load.state === 'normal')
    t.equal(await bytes(), best)
  }
)

t.test('a function for the utilisation that throws changes nothing', async (t) => {
  let calls = 0
  const app = await appWith(t, {
    adaptive: true,
    loadSampleMs: 50,
    utilisation: () => {
      calls++
      throw new Error('a bug')
    }
  })
  app.get('/', async () => TEXT)
  await app.ready()
  await eventually(() => calls > 3)
  t.equal((await app.inject({ url: '/', ...BR })).headers['content-encoding'], 'br')
})

t.test('without a function the process itself is watched', async (t) => {
  const app = await appWith(t, { adaptive: true, loadSampleMs: 50 })
  await app.ready()
  await eventually(() => view(app).load.utilisation_percent > 0)
  t.ok(view(app).load.utilisation_percent <= 110)
})

t.test('after close nothing is kept, and a compression under way ends quietly', async (t) => {
  const app = Fastify()
  await app.register(plugin, { maxSyncMs: 0 })
  app.get('/', async () => TEXT)
  await app.ready()
  for (let i = 0; i < 3; i++) await app.inject({ url: '/', ...BR })
  t.equal(view(app).cache.entries, 1)
  const last = app.inject({ url: '/', ...GZIP })
  await nextTurn()
  await app.close()
  await last
  t.equal(view(app).cache.entries, 0)
})
