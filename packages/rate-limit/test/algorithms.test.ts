import fc from 'fast-check'
import t from 'tap'
import { addressList } from '../src/address-list.ts'
import { ipKey } from '../src/ip-key.ts'
import { KeyHash } from '../src/key-hash.ts'
import { KeyTable } from '../src/key-table.ts'
import { LocalBuckets } from '../src/local-buckets.ts'
import type { Memory } from '../src/local-buckets.ts'
import { resolvePolicies, shareOf } from '../src/policy.ts'
import type { PolicyOptions } from '../src/policy.ts'
import { TokenBucket } from '../src/token-bucket.ts'
import { newVerdict } from '../src/verdict.ts'
import { WindowStore } from '../src/window-store.ts'

/** Small, seeded, and the same everywhere. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

function memoryOf(maxKeys: number): Memory & { readonly table: KeyTable } {
  let spaces = 0
  return { table: new KeyTable(maxKeys), hash: new KeyHash(1), nextSpace: () => spaces++ }
}

function bucketsOf(policies: readonly PolicyOptions[], memory: Memory): LocalBuckets {
  return new LocalBuckets(resolvePolicies('test', 'policies', policies), memory)
}

/**
 * A bucket as one would draw it: tokens that drip in, counted in whole numbers. Arrivals are whole
 * milliseconds and rates whole requests a second, so a thousandth of a token is the smallest part
 * there is, and nothing is ever rounded.
 */
class DrawnBucket {
  readonly #perSecond: number
  readonly #full: number
  #thousandths: number
  #lastMs = 0

  constructor(perSecond: number, size: number) {
    this.#perSecond = perSecond
    this.#full = size * 1000
    this.#thousandths = this.#full
  }

  has(nowMs: number, cost: number): boolean {
    const dripped = (nowMs - this.#lastMs) * this.#perSecond
    this.#thousandths = Math.min(this.#full, this.#thousandths + dripped)
    this.#lastMs = nowMs
    return this.#thousandths >= cost * 1000
  }

  take(cost: number): void {
    this.#thousandths -= cost * 1000
  }
}

t.test('a million arrivals are decided as by a drawn bucket, each one', async (t) => {
  const random = randomNumbers(7)
  const rates = [1, 3, 7, 100, 333, 1000, 9999]
  const memory = memoryOf(100_000)
  let differences = 0
  let limited = 0
  for (const perSecond of rates) {
    const size = 1 + Math.floor(random() * 50)
    const policy = { requestsPerSecond: perSecond, burstSize: size }
    const buckets = bucketsOf([policy], memory)
    const drawn = new Map<string, DrawnBucket>()
    const verdict = newVerdict()
    let nowMs = 1_000_000
    for (let i = 0; i < 1_000_000 / rates.length; i++) {
      if (random() < 0.3) nowMs += Math.floor((random() * 20_000) / perSecond / 20)
      const key = `10.0.${Math.floor(random() ** 4 * 20)}.1`
      const cost = random() < 0.9 ? 1 : 1 + Math.floor(random() * size)
      const model = drawn.get(key) ?? new DrawnBucket(perSecond, size)
      drawn.set(key, model)
      const expected = model.has(nowMs, cost)
      if (expected) model.take(cost)
      buckets.take(key, cost, nowMs, verdict)
      if (verdict.isAllowed !== expected) differences++
      if (!expected) limited++
    }
  }
  t.equal(differences, 0)
  t.ok(limited > 100_000, `${limited} of them were refused, so both ways are tried`)
})

t.test('several policies all let a request in, or none takes anything', async () => {
  const arrivals = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 1, max: 3 })),
    { minLength: 1, maxLength: 200 }
  )
  fc.assert(
    fc.property(arrivals, (given) => {
      const buckets = bucketsOf(
        [
          { name: 'burst', requestsPerSecond: 10, burstSize: 5 },
          { name: 'sustained', requestsPerSecond: 2, burstSize: 20 }
        ],
        memoryOf(1000)
      )
      const models = [new DrawnBucket(10, 5), new DrawnBucket(2, 20)]
      const verdict = newVerdict()
      let nowMs = 5000
      for (const [laterMs, cost] of given) {
        nowMs += laterMs
        const has = models.map((model) => model.has(nowMs, cost))
        const expected = has.every(Boolean)
        if (expected) for (const model of models) model.take(cost)
        buckets.take('k', cost, nowMs, verdict)
        if (verdict.isAllowed !== expected) return false
        // the policy that refuses is named
        if (!expected && has[verdict.policy] === true) return false
      }
      return true
    })
  )
})

t.test('who waits as long as told is let in, and not a moment before', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5000 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 1e9 }),
      (perSecond, size, startMs) => {
        const bucket = new TokenBucket(perSecond, size)
        let state = 0
        for (let i = 0; i < size; i++) state = bucket.take(state, startMs, 1)
        const waitMs = bucket.waitMs(bucket.take(state, startMs, 1), startMs)
        const tokenMs = 1000 / perSecond
        const early = startMs + waitMs - tokenMs / 1000
        return (
          bucket.tokens(state, startMs) === 0 &&
          Math.abs(waitMs - tokenMs) < tokenMs / 1000 &&
          bucket.waitMs(bucket.take(state, early, 1), early) > 0 &&
          bucket.waitMs(bucket.take(state, startMs + waitMs, 1), startMs + waitMs) === 0
        )
      }
    )
  )
})

t.test('a table of keys is a map that forgets what has passed', async () => {
  const steps = fc.array(
    fc.record({
      key: fc.integer({ min: 0, max: 300 }),
      later: fc.integer({ min: 0, max: 30 }),
      keepFor: fc.integer({ min: 1, max: 500 }),
      what: fc.constantFrom('put', 'put', 'put', 'remove', 'sweep')
    }),
    { maxLength: 800 }
  )
  fc.assert(
    fc.property(steps, (given) => {
      const table = new KeyTable(1e6)
      const model = new Map<number, number>()
      let nowMs = 1
      for (const { key, later, keepFor, what } of given) {
        nowMs += later
        // few segments, so that their places collide
        const [high, low] = [key % 3, Math.imul(key, 7)]
        const known = model.get(key) ?? 0
        const found = table.find(high, low, nowMs)
        if (known > nowMs ? found !== known : found > nowMs) return false
        if (what === 'put') {
          table.put(nowMs + keepFor, nowMs)
          model.set(key, nowMs + keepFor)
        } else if (what === 'remove') {
          table.remove()
          model.delete(key)
        } else table.sweep(nowMs)
        const live = [...model.values()].filter((untilMs) => untilMs > nowMs).length
        if (table.size < live) return false
      }
      return table.evicted === 0
    })
  )
})

t.test('a million keys are kept apart, in less than 60 MB', async (t) => {
  const table = new KeyTable(1_000_000)
  const hash = new KeyHash()
  const keyOf = (i: number): string => `${i >>> 16}.${(i >>> 8) & 255}.${i & 255}.1`
  for (let i = 0; i < 1_000_000; i++) {
    hash.of(0, keyOf(i))
    table.find(hash.high, hash.low, 1)
    table.put(10 + i, 1)
  }
  t.equal(table.size, 1_000_000)
  t.equal(table.evicted, 0)
  t.ok(table.bytes < 60e6, `${table.bytes} bytes`)
  let lost = 0
  for (let i = 0; i < 1_000_000; i += 7) {
    hash.of(0, keyOf(i))
    if (table.find(hash.high, hash.low, 1) !== 10 + i) lost++
  }
  t.equal(lost, 0)
  for (let i = 0; i < 8; i++) table.sweep(2_000_000)
  t.equal(table.size, 0)
  t.ok(table.bytes < 1e6, `${table.bytes} bytes when all have passed`)
})

t.test(
  'a flood of keys takes nobody’s state before the bound is hit, and counts it then',
  async (t) => {
    const table = new KeyTable(10_000)
    const hash = new KeyHash(5)
    const find = (key: string): number => {
      hash.of(0, key)
      return table.find(hash.high, hash.low, 1)
    }
    find('victim')
    table.put(1e9, 1)
    for (let i = 0; i < 9_999; i++) {
      find(`flood ${i}`)
      table.put(1000 + i, 1)
    }
    t.equal(table.evicted, 0)
    t.equal(find('victim'), 1e9)
    for (let i = 0; i < 50_000; i++) {
      find(`more ${i}`)
      table.put(1000 + (i % 1000), 1)
    }
    t.ok(table.size <= 10_000 + 256, `${table.size} keys`)
    t.ok(table.evicted > 40_000)
    t.equal(find('victim'), 1e9, 'those whose moment is near go first')
  }
)

t.test('keys of a megabyte are told apart by their last character', async (t) => {
  const hash = new KeyHash(3)
  const long = 'x'.repeat(1_000_000)
  hash.of(0, `${long}a`)
  const first = [hash.high, hash.low]
  hash.of(0, `${long}b`)
  t.notSame([hash.high, hash.low], first)
  hash.of(1, `${long}a`)
  t.notSame([hash.high, hash.low], first, 'and by the limiter they belong to')
})

t.test('hundred thousand similar keys share no hash', async (t) => {
  const hash = new KeyHash(11)
  const seen = new Set<string>()
  for (let i = 0; i < 100_000; i++) {
    hash.of(0, `user-${i}`)
    seen.add(`${hash.high}:${hash.low}`)
  }
  t.equal(seen.size, 100_000)
})

t.test(
  'a fixed window lets its number in, refuses the rest, and begins again when it ends',
  async (t) => {
    const store = new WindowStore(3, 1000, 100)
    t.same(store.take('a', 1, 5000), { current: 1, ttl: 1000 })
    t.same(store.take('a', 2, 5400), { current: 3, ttl: 600 })
    t.same(store.take('a', 1, 5999), { current: 4, ttl: 1 })
    t.same(store.take('a', 1, 6000), { current: 1, ttl: 1000 })
    store.giveBack('a', 1)
    t.same(store.take('a', 3, 6100), { current: 3, ttl: 900 })
  }
)

t.test(
  'fixed windows agree with counting by hand, and keep no more keys than they may',
  async () => {
    const arrivals = fc.array(
      fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 9 })),
      { maxLength: 300 }
    )
    fc.assert(
      fc.property(arrivals, (given) => {
        const store = new WindowStore(2, 100, 10)
        const model = new Map<number, { count: number; endsAtMs: number }>()
        let nowMs = 1
        for (const [laterMs, key] of given) {
          nowMs += laterMs
          let window = model.get(key)
          if (window === undefined || window.endsAtMs <= nowMs) {
            window = { count: 0, endsAtMs: nowMs + 100 }
            model.set(key, window)
          }
          const fits = window.count < 2
          if (fits) window.count++
          const { current, ttl } = store.take(`${key}`, 1, nowMs)
          if (current > 2 === fits || ttl !== window.endsAtMs - nowMs) return false
        }
        return store.size <= 10 && store.evicted === 0
      })
    )
  }
)

t.test('too many windows: those that end first go, and are counted', async (t) => {
  const store = new WindowStore(1, 1000, 3)
  for (const [i, key] of ['a', 'b', 'c', 'd'].entries()) store.take(key, 1, 100 + i)
  t.equal(store.size, 3)
  t.equal(store.evicted, 1)
  t.equal(store.take('d', 1, 105).current, 2, 'd is still known')
  store.sweep(5000, 100)
  t.equal(store.size, 0)
})

t.test('policies that can never decide anything are refused', async (t) => {
  const refused: [PolicyOptions[], RegExp][] = [
    [
      [
        { name: 'a', requestsPerSecond: 1 },
        { name: 'a', max: 5, windowMs: 1000 }
      ],
      /"a" again/
    ],
    [
      [
        { name: 'a', requestsPerSecond: 1, burstSize: 5 },
        { name: 'b', requestsPerSecond: 2, burstSize: 5 }
      ],
      /"a" always refuses before "b"/
    ],
    [
      [
        { name: 'a', max: 10, windowMs: 1000 },
        { name: 'b', max: 5, windowMs: 1000 }
      ],
      /"b" always refuses before "a"/
    ],
    [
      [
        { name: 'a', max: 10, windowMs: 1000 },
        { name: 'b', max: 1000, windowMs: 60_000 }
      ],
      /"a" always refuses before "b"/
    ],
    [
      [
        { name: 'a', requestsPerSecond: 1, burstSize: 1 },
        { name: 'b', max: 61, windowMs: 60_000 }
      ],
      /"a" always refuses before "b"/
    ]
  ]
  for (const [policies, message] of refused) {
    t.throws(() => resolvePolicies('p', 'policies', policies), { message })
  }
  t.doesNotThrow(() =>
    resolvePolicies('p', 'policies', [
      { name: 'burst', requestsPerSecond: 10, burstSize: 10 },
      { name: 'sustained', requestsPerSecond: 1, burstSize: 100 },
      { name: 'daily', max: 5000, windowMs: 86_400_000 }
    ])
  )
})

t.test('the shares of all instances are never more than the whole, and never nothing', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 50 }),
      (size, instances) => {
        const [policy] = resolvePolicies('p', 'policies', [
          { requestsPerSecond: 10, burstSize: size }
        ])
        const share = shareOf(policy!, instances)
        if (share.kind !== 'token-bucket') return false
        const together = share.tokensPerSecond * instances
        return (
          share.size >= 1 &&
          share.size * instances <= Math.max(size, instances) &&
          Math.abs(together - 10) < 1e-9
        )
      }
    )
  )
})

t.test('addresses of one IPv6 network count as one, mapped IPv4 as IPv4', async (t) => {
  t.equal(ipKey('192.0.2.7', 64), '192.0.2.7')
  t.equal(ipKey('::ffff:192.0.2.7', 64), '192.0.2.7')
  t.equal(ipKey('::ffff:c000:207', 64), '192.0.2.7')
  t.equal(ipKey('2001:db8:1:2:3:4:5:6', 64), ipKey('2001:db8:1:2::1', 64))
  t.not(ipKey('2001:db8:1:2::1', 64), ipKey('2001:db8:1:3::1', 64))
  t.equal(ipKey('2001:db8:1:2ff::1', 56), ipKey('2001:db8:1:200::1', 56))
  t.not(ipKey('2001:db8::1', 128), ipKey('2001:db8::2', 128))
  t.equal(ipKey('fe80::1%eth0', 64), ipKey('fe80::2', 64))
  for (const nonsense of ['', 'x', ':::', '1:2', '::1::2', 'g::1', '1:2:3:4:5:6:7:8:9']) {
    t.equal(ipKey(nonsense, 64), nonsense)
  }
})

t.test('an IPv6 key never differs for addresses of one network', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 }),
      fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 4, maxLength: 4 }),
      (groups, others) => {
        const write = (all: number[]): string => all.map((group) => group.toString(16)).join(':')
        if (groups.slice(0, 5).every((group) => group === 0)) return true
        return ipKey(write(groups), 64) === ipKey(write([...groups.slice(0, 4), ...others]), 64)
      }
    )
  )
})

t.test('lists know addresses and networks of both families', async (t) => {
  const isOn = addressList('p', 'allowList', ['10.0.0.0/8', '192.0.2.7', '2001:db8::/32'])!
  for (const ip of ['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.7', '2001:db8:ffff::1']) {
    t.ok(isOn(ip), ip)
  }
  for (const ip of ['11.0.0.1', '192.0.2.8', '2001:db9::1', '', 'nonsense']) t.notOk(isOn(ip), ip)
  t.equal(addressList('p', 'allowList', []), undefined)
  for (const bad of [
    '10.0.0.0/33',
    '10.0.0',
    '::/129',
    'host',
    '10.0.0.0/8/8',
    '1.2.3.4/',
    '1.2.3.4/-1'
  ]) {
    t.throws(() => addressList('p', 'allowList', [bad]), { message: /option "allowList"/ })
  }
})
