import { gunzipSync, gzipSync } from 'node:zlib'
import { ManualClock } from '@fastify-vitals/testing'
import fc from 'fast-check'
import t from 'tap'
import { Negotiator, chooseEncoding, parseAcceptEncoding } from '../src/accept-encoding.ts'
import { costsMoreThanItSaves, missedBytes } from '../src/advice.ts'
import type { Encoding } from '../src/codecs.ts'
import { parseContentEncoding } from '../src/content-encoding.ts'
import { COMPRESSIBLE, ContentTypes } from '../src/content-types.ts'
import { Compressor } from '../src/compressor.ts'
import type { Compressed } from '../src/compressor.ts'
import { CostEstimate } from '../src/cost-estimate.ts'
import { digestOf, sampledHash } from '../src/digest.ts'
import { Encoders } from '../src/encoder.ts'
import type { Encoder } from '../src/encoder.ts'
import { noneMatchNames, tagOf, weakened } from '../src/etag.ts'
import { names, varyWith } from '../src/header-lists.ts'
import { LoadLevel } from '../src/load-level.ts'
import { padded } from '../src/padding.ts'
import { PayloadCache } from '../src/payload-cache.ts'
import { Trial } from '../src/trial.ts'

const OURS: readonly Encoding[] = ['br', 'gzip', 'deflate']
const chosen = (header: string): string => chooseEncoding(header, OURS).encoding ?? 'identity'

t.test('of the encodings a client weighs alike, the first of ours is taken', async (t) => {
  t.equal(chosen('gzip, deflate, br'), 'br')
  t.equal(chosen('GZIP'), 'gzip')
  t.equal(chosen('x-gzip'), 'gzip')
  t.equal(chosen('*'), 'br')
  t.equal(chosen('snappy, deflate'), 'deflate')
})

t.test('a heavier weight wins over our order, and identity may weigh most', async (t) => {
  t.equal(chosen('br;q=0.5, gzip;q=0.8'), 'gzip')
  t.equal(chosen('br;q=0.500 , gzip ; q=0.499'), 'br')
  t.equal(chosen('gzip;q=0.5, identity'), 'identity')
  t.equal(chosen('gzip, identity'), 'gzip')
})

t.test('an encoding with weight 0 is never taken, whatever a star says', async (t) => {
  t.equal(chosen('gzip;q=0, *'), 'br')
  t.equal(chosen('br;q=0, gzip;q=0, deflate;q=0.000, *'), 'identity')
  t.equal(chosen('*;q=0'), 'identity')
  t.equal(chosen('gzip, *;q=0'), 'gzip')
  t.equal(chosen(''), 'identity')
})

t.test('a client may refuse what is not encoded', async (t) => {
  const refuses = (header: string): boolean => chooseEncoding(header, OURS).refusesIdentity
  t.equal(refuses('gzip, identity;q=0'), true)
  t.equal(refuses('gzip, *;q=0'), true)
  t.equal(refuses('gzip, identity;q=0.1, *;q=0'), false)
  t.equal(refuses('gzip'), false)
})

t.test('a weight that is none means no', async (t) => {
  for (const q of ['2', '-1', '0.1234', 'x', '', '1.1', '.5', '1e1', '0,5']) {
    t.equal(chosen(`gzip;q=${q}`), 'identity', q)
  }
  t.equal(chosen('gzip;level=3'), 'identity')
})

t.test('whatever is sent as Accept-Encoding, what is chosen is allowed by it', async (t) => {
  const name = fc.constantFrom('br', 'gzip', 'deflate', 'identity', '*', 'zstd', 'x', '')
  const weight = fc.option(fc.integer({ min: 0, max: 1000 }))
  const member = fc
    .tuple(name, weight, fc.constantFrom('', ' ', '\t'))
    .map(
      ([encoding, q, space]) =>
        space + encoding + (q === null ? '' : `${space};${space}q=${q / 1000}`)
    )
  fc.assert(
    fc.property(fc.array(member, { maxLength: 12 }), (members) => {
      const header = members.join(',')
      const { encoding } = chooseEncoding(header, OURS)
      const weights = parseAcceptEncoding(header)
      const weightOf = (each: string): number => weights.get(each) ?? weights.get('*') ?? 0
      if (encoding !== undefined) {
        const most = Math.max(...OURS.map(weightOf))
        t.equal(weightOf(encoding), most)
        t.ok(most > 0)
      } else if (!weights.has('identity')) {
        t.ok(OURS.every((each) => weightOf(each) === 0))
      }
    })
  )
})

t.test(
  'any text is parsed, a negotiator answers as the function does, and remembers little',
  async () => {
    const negotiator = new Negotiator(OURS)
    fc.assert(
      fc.property(fc.string({ maxLength: 3000 }), (header) => {
        const weights = parseAcceptEncoding(header)
        const once = chooseEncoding(header, OURS)
        const again = negotiator.choose(header)
        return (
          weights.size <= 32 &&
          again.encoding === once.encoding &&
          negotiator.choose(header).encoding === once.encoding
        )
      })
    )
  }
)

t.test('of a header of a megabyte only the start is read', async (t) => {
  t.equal(parseAcceptEncoding(`${','.repeat(1e6)}gzip`).size, 0)
  t.equal(chosen(`gzip;q=1${' '.repeat(1e6)}`), 'gzip')
  t.ok(parseAcceptEncoding(Array.from({ length: 1e5 }, (_, i) => `e${i}`).join(',')).size <= 32)
})

t.test('Content-Encoding lists what was applied, within a bound', async (t) => {
  const supported = new Set(OURS)
  t.same(parseContentEncoding('GZIP', supported, 2), ['gzip'])
  t.same(parseContentEncoding(' identity, x-gzip , br', supported, 2), ['gzip', 'br'])
  t.same(parseContentEncoding('identity', supported, 2), [])
  t.equal(parseContentEncoding('gzip, gzip, gzip', supported, 2), undefined)
  t.equal(parseContentEncoding('compress', supported, 2), undefined)
  t.equal(parseContentEncoding(`gzip${' '.repeat(300)}`, supported, 2), undefined)
})

t.test('text is compressible by default; events, bytes and pictures are not', async (t) => {
  const types = new ContentTypes(COMPRESSIBLE)
  for (const type of [
    'application/json; charset=utf-8',
    'TEXT/HTML',
    'application/problem+json',
    'image/svg+xml',
    'text/css;x=y'
  ]) {
    t.equal(types.has(type), true, type)
    t.equal(types.has(type), true, `${type}, remembered`)
  }
  for (const type of [
    'application/octet-stream',
    'image/png',
    'text/event-stream',
    'text/event-stream; charset=utf-8',
    'application/x-ndjson',
    'application/zip',
    'application/jsonx',
    'multipart/mixed; a=+json',
    '',
    'nonsense'
  ]) {
    t.equal(types.has(type), false, type)
  }
  for (let i = 0; i < 1000; i++) types.has(`x/${i}`)
  t.equal(types.has('text/plain'), true)
})

t.test('tags become weak once, and compare weakly', async (t) => {
  t.equal(weakened('"a"'), 'W/"a"')
  t.equal(weakened('W/"a"'), 'W/"a"')
  const tag = tagOf(digestOf('body'))
  t.match(tag, /^W\/"[\w-]{27}"$/)
  t.equal(noneMatchNames(tag, tag), true)
  t.equal(noneMatchNames(tag.slice(2), tag), true)
  t.equal(noneMatchNames(`"x", W/"y" ,${tag}`, tag), true)
  t.equal(noneMatchNames(' * ', tag), true)
  t.equal(noneMatchNames(tag.slice(0, -1), tag), false)
  t.equal(noneMatchNames('', tag), false)
  t.equal(noneMatchNames('"a,b", "c"', 'W/"c"'), true)
  t.equal(noneMatchNames(`${'"x",'.repeat(1e5)}${tag}`, tag), false, 'far beyond what is read')
})

t.test('Vary names accept-encoding once, and keeps what it said', async (t) => {
  t.equal(varyWith(undefined), 'accept-encoding')
  t.equal(varyWith('origin'), 'origin, accept-encoding')
  t.equal(varyWith(['origin', 'cookie']), 'origin, cookie, accept-encoding')
  t.equal(varyWith('Origin, Accept-Encoding'), undefined)
  t.equal(varyWith('*'), undefined)
  t.equal(varyWith('x-accept-encoding'), 'x-accept-encoding, accept-encoding')
  t.equal(names('public, No-Transform', 'no-transform'), true)
  t.equal(names('max-age=60', 'max-age'), true)
})

t.test(
  'a sampled hash tells texts and buffers apart by length and by what it looks at',
  async (t) => {
    t.equal(sampledHash('abc'.repeat(100)), sampledHash(Buffer.from('abc'.repeat(100))))
    t.not(sampledHash('a'.repeat(100)), sampledHash('a'.repeat(101)))
    t.not(sampledHash('a'.repeat(100)), sampledHash('b'.repeat(100)))
    t.type(sampledHash(''), 'number')
  }
)

/** Shows a body to a cache as the compressor does; says whether it was there. */
function show(cache: PayloadCache<string>, body: string, bytes: number = body.length): boolean {
  const sighting = cache.sight(body)
  if (sighting === undefined) return false
  if (cache.get(sighting, 'br') !== undefined) return true
  if (sighting.isRepeated) cache.keep(sighting, 'br', Buffer.alloc(bytes))
  return false
}

t.test('a body is kept when it comes a second time, and found the third', async (t) => {
  const cache = new PayloadCache<string>(100_000)
  t.equal(show(cache, 'body'), false)
  t.equal(cache.size, 0)
  t.equal(show(cache, 'body'), false)
  t.equal(cache.size, 1)
  t.equal(show(cache, 'body'), true)
  t.equal(cache.get(cache.sight('body')!, 'gzip'), undefined, 'in another encoding it is not there')
})

t.test('bodies that never come again push nothing out, also when they hardly differ', async (t) => {
  const cache = new PayloadCache<string>(100_000)
  for (let i = 0; i < 3; i++) show(cache, 'kept')
  // differ in one place which the sampled hash does not see
  const nearly = (i: number): string =>
    `${'x'.repeat(31)}${String(i).padStart(9, '0')}${'x'.repeat(20_000)}`
  for (let i = 0; i < 500; i++) show(cache, nearly(i), 5000)
  for (let i = 0; i < 500; i++) show(cache, `${i * 7919} unique`, 5000)
  t.equal(show(cache, 'kept'), true)
  t.ok(cache.size <= 3, `${cache.size} entries`)
  show(cache, nearly(7))
  show(cache, nearly(7))
  t.equal(show(cache, nearly(7)), true, 'one that does come again is kept')
})

t.test('a cache holds no more bytes than it may, the least recently used go first', async (t) => {
  const cache = new PayloadCache<string>(10_000)
  const keep = (body: string, bytes: number): void => {
    show(cache, body, bytes)
    show(cache, body, bytes)
  }
  keep('a', 2000)
  keep('b', 2000)
  keep('c', 2000)
  show(cache, 'a')
  keep('d', 2000)
  keep('e', 2000)
  t.ok(cache.bytes <= 10_000)
  t.equal(show(cache, 'a'), true)
  t.equal(show(cache, 'b'), false)
  cache.clear()
  t.equal(cache.bytes, 0)
  keep('large', 5000)
  t.equal(cache.size, 0, 'one that takes more than a quarter is not kept')
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 1, max: 3000 }))),
      (shown) => {
        for (const [body, bytes] of shown) show(cache, `body ${body}`, bytes)
        return cache.bytes <= 10_000 && cache.bytes >= 0
      }
    )
  )
})

t.test(
  'the cost of a size is learnt from calls, and interruptions do not pull it along',
  async (t) => {
    const cost = new CostEstimate(10)
    t.equal(cost.expectedMs(1e6), 10)
    for (let i = 0; i < 200; i++) cost.observe(1e6, i % 10 === 0 ? 1000 : 20)
    t.ok(Math.abs(cost.expectedMs(1e6) - 20) < 2, String(cost.expectedMs(1e6)))
    t.equal(cost.expectedMs(1000), 0.01, 'other sizes are not touched')
    const waiting = new CostEstimate(10)
    for (let i = 0; i < 2000; i++) waiting.observeWaiting(1e6, 5 + (i % 10) * 3)
    t.ok(waiting.expectedMs(1e6) < 10, 'in the pool the quickest calls count')
  }
)

t.test(
  'a busy process lowers the level after two samples and restores it after five calm ones',
  async (t) => {
    const load = new LoadLevel({ lowerAbove: 0.8, restoreBelow: 0.6, skipAbove: 0.95 })
    const after = (...samples: number[]): string => {
      for (const sample of samples) load.observe(sample)
      return load.state
    }
    t.equal(after(0.9), 'normal')
    t.equal(after(0.7, 0.9), 'normal', 'not two in a row')
    t.equal(after(0.9), 'saturated')
    t.equal(
      after(0.7, 0.7, 0.7, 0.7, 0.7, 0.7),
      'saturated',
      'between the thresholds nothing moves'
    )
    t.equal(after(0.5, 0.5, 0.5, 0.5), 'saturated')
    t.equal(after(0.5), 'normal')
    t.equal(after(NaN, Infinity), 'normal')
    t.equal(load.utilisation, 0.5)
  }
)

t.test(
  'a process that is at its limit all the same stops compressing, and comes back in steps',
  async (t) => {
    const load = new LoadLevel({ lowerAbove: 0.8, restoreBelow: 0.6, skipAbove: 0.95 })
    const observe = (sample: number, times: number): string => {
      for (let i = 0; i < times; i++) load.observe(sample)
      return load.state
    }
    t.equal(observe(1, 2), 'saturated')
    t.equal(observe(1, 4), 'saturated')
    t.equal(observe(1, 1), 'severe')
    t.equal(observe(0.1, 5), 'saturated')
    t.equal(observe(0.1, 5), 'normal')
  }
)

t.test('a padded gzip file is one still, and longer by a length nobody knows', async (t) => {
  const plain = gzipSync('something to hide')
  const lengths = new Set<number>()
  for (let i = 0; i < 200; i++) {
    const file = padded(plain, 64)
    lengths.add(file.length)
    t.ok(file.length > plain.length && file.length <= plain.length + 64)
    t.equal(gunzipSync(file).toString(), 'something to hide')
  }
  t.ok(lengths.size > 20)
})

function compressorWith(maxSyncMs: number, cache?: PayloadCache<Encoder>): Compressor {
  return new Compressor({ maxSyncMs, maxPending: 2, cache, cores: 1, now: () => performance.now() })
}

async function compressed(
  compressor: Compressor,
  body: string,
  encoder: Encoder
): Promise<Compressed> {
  return await new Promise((resolve, reject) => {
    compressor.compress(body, body.length, encoder, encoder, undefined, (error, result) =>
      error === null ? resolve(result!) : reject(error)
    )
  })
}

t.test('short work is done at once, long work in the thread pool, which has a bound', async (t) => {
  const encoder = new Encoders().of('gzip', 6)
  const body = 'text '.repeat(2000)
  let isDone = false
  compressorWith(50).compress(body, body.length, encoder, encoder, undefined, () => (isDone = true))
  t.equal(isDone, true)
  const never = compressorWith(0)
  const both = [compressed(never, body, encoder), compressed(never, body, encoder)]
  t.equal(never.pending, 2)
  t.equal(never.isFull, true)
  for (const { body: file } of await Promise.all(both)) t.equal(gunzipSync(file).toString(), body)
  t.equal(never.pending, 0)
})

t.test('an encoding that fails is reported as an error, here and in the pool', async (t) => {
  const broken = new Encoders().of('gzip', 6)
  const fail = (): never => {
    throw new Error('no memory')
  }
  broken.compressSync = fail
  broken.compress = (_body, _bytes, done) => done(new Error('no memory'), undefined as never)
  await t.rejects(compressed(compressorWith(50), 'x', broken), /no memory/)
  await t.rejects(compressed(compressorWith(0), 'x', broken), /no memory/)
})

t.test('there is one encoder for an encoding at a level, and a cheapest one', async (t) => {
  const encoders = new Encoders()
  t.equal(encoders.of('br', 4), encoders.of('br', 4))
  t.equal(encoders.cheapest(encoders.of('br', 4)).level, 1)
  t.equal(encoders.cheapest(encoders.of('br', 0)).level, 0)
  t.equal(encoders.cheapest(encoders.of('gzip', 9)), encoders.of('gzip', 1))
})

t.test(
  'compression that saves little, or less than a line carries meanwhile, does not pay',
  async (t) => {
    const effect = { bodies: 100, bytesBefore: 1e6, bytesAfter: 2e5, cpuMs: 10 }
    t.equal(costsMoreThanItSaves(effect), undefined)
    t.match(costsMoreThanItSaves({ ...effect, bytesAfter: 9.5e5 }), /less than a tenth/)
    t.match(costsMoreThanItSaves({ ...effect, cpuMs: 1000 }), /lower level/)
    t.equal(
      costsMoreThanItSaves({ ...effect, bodies: 3, cpuMs: 1000 }),
      undefined,
      'too few to tell'
    )
  }
)

t.test('what is missed is told when it is much', async (t) => {
  t.equal(missedBytes(1e6, 0.8), 8e5)
  t.equal(missedBytes(1e6, 0.1), undefined)
  t.equal(missedBytes(1e3, 0.8), undefined)
  t.equal(missedBytes(1e6, undefined), undefined)
})

t.test('a trial looks at the start of a body, once in half a minute', async (t) => {
  const clock = new ManualClock()
  const trial = new Trial(clock.now)
  t.equal(trial.savedRatio, undefined)
  trial.consider('text '.repeat(10_000), 50_000)
  const first = trial.savedRatio!
  t.ok(first > 0.9)
  trial.consider(Buffer.from('0123456789abcdef'), 16)
  t.equal(trial.savedRatio, first)
  clock.advance(30_000)
  trial.consider(Buffer.from('0123456789abcdef'), 16)
  t.ok(trial.savedRatio! < first)
})
