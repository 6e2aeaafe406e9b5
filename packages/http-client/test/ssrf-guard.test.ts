import { isIPv4 } from 'node:net'
import type { LookupFunction } from 'node:net'
import { VitalsError, VitalsOptionError } from '@fastify-vitals/metrics'
import fc from 'fast-check'
import t from 'tap'
import { BlockedAddressError } from '../src/policies/blocked-address-error.ts'
import { guardedLookup, SsrfGuard } from '../src/policies/ssrf-guard.ts'
import { RANGES_V4, isBlockedV4, isBlockedV6, v4Number, v4Text, v6Text } from './addresses.ts'

/** What `lookup` found, as net.connect would ask for it. */
function found(lookup: LookupFunction, host = 'host.example'): Promise<string[]> {
  return new Promise((resolve, reject) => {
    lookup(host, { all: true }, (error, addresses) => {
      if (error) reject(error)
      else if (typeof addresses === 'string') reject(new Error('one address instead of all'))
      else resolve(addresses.map(({ address }) => address))
    })
  })
}

const answering =
  (...addresses: string[]): LookupFunction =>
  (_host, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: isIPv4(address) ? 4 : 6 }))
    )

async function isBlocked(
  address: string,
  allow: readonly string[] = [],
  host?: string
): Promise<boolean> {
  const lookup = guardedLookup({ allow, lookup: answering(address) })
  return found(lookup, host).then(
    () => false,
    (error: unknown) => {
      if (error instanceof BlockedAddressError) return true
      throw error
    }
  )
}

t.test('the SSRF guard', async (t) => {
  t.test('lets through exactly the IPv4 addresses of public hosts', async () => {
    const edges = RANGES_V4.flatMap(([start, bits]) => {
      const from = v4Number(start)
      return [from - 1, from, from + 2 ** (32 - bits) - 1, from + 2 ** (32 - bits)]
    }).filter((value) => value >= 0 && value < 2 ** 32)
    const address = fc.oneof(fc.constantFrom(...edges), fc.integer({ min: 0, max: 2 ** 32 - 1 }))
    await fc.assert(
      fc.asyncProperty(address, async (value) => {
        return (await isBlocked(v4Text(value))) === isBlockedV4(value)
      }),
      { numRuns: 1000 }
    )
  })

  t.test('lets through exactly the IPv6 addresses of public hosts', async () => {
    const group = fc.integer({ min: 0, max: 0xffff })
    const start = fc.oneof(
      group.map((first) => [first]),
      fc.constantFrom(0x2001, 0x3fff).chain((first) => group.map((second) => [first, second])),
      fc.constantFrom([0x2001, 0x1ff], [0x2001, 0x200], [0x3fff, 0xfff], [0x3fff, 0x1000]),
      fc.constantFrom([0x2001, 0xdb8], [0x2002], [0x3ffe], [0x64, 0xff9b], [0x64, 0xff9b, 1]),
      fc.constantFrom([0, 0, 0, 0, 0, 0xffff], [0x64, 0xff9b, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0])
    )
    const address = fc
      .tuple(start, fc.array(group, { minLength: 8, maxLength: 8 }))
      .map(([a, b]) =>
        [...a, ...b].slice(0, 8).reduce((sum, one) => (sum << 16n) + BigInt(one), 0n)
      )
    await fc.assert(
      fc.asyncProperty(address, async (value) => {
        return (await isBlocked(v6Text(value))) === isBlockedV6(value)
      }),
      { numRuns: 1000 }
    )
  })

  const inside = [
    '127.0.0.1',
    '127.255.255.254',
    '0.0.0.0',
    '10.0.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '100.64.0.1',
    '169.254.169.254',
    '100.100.100.200',
    '168.63.129.16',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::127.0.0.1',
    '::ffff:127.0.0.1',
    '::ffff:a9fe:a9fe',
    '::ffff:0:127.0.0.1',
    '0:0:0:0:0:ffff:10.0.0.1',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'fe80::1%lo',
    'fec0::1',
    'ff02::1',
    '64:ff9b::127.0.0.1',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b::7f00:0',
    '64:ff9b::',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '2002:808:808::1',
    '2001:0:4136:e378:8000:63bf:3fff:fdd2',
    '100::1',
    'not an address',
    '0x7f.1',
    '0177.0.0.1',
    ''
  ]
  t.test('blocks what leads inside, in whatever disguise', async (t) => {
    for (const address of inside) t.ok(await isBlocked(address), address)
  })

  t.test('lets through public hosts, those of networks without IPv4 included', async (t) => {
    const outside = [
      '8.8.8.8',
      '172.32.0.1',
      '100.128.0.1',
      '2606:4700::1111',
      '2a00:1450:4001::1',
      '::ffff:8.8.8.8',
      '64:ff9b::8.8.8.8'
    ]
    for (const address of outside) t.notOk(await isBlocked(address), address)
  })

  t.test(
    'lets through what is allowed: an address, a range, a host, hosts below a name',
    async (t) => {
      t.notOk(await isBlocked('10.1.2.3', ['10.1.0.0/16']))
      t.ok(await isBlocked('10.2.0.0', ['10.1.0.0/16']))
      t.notOk(await isBlocked('::ffff:10.1.2.3', ['10.1.2.3']))
      t.notOk(await isBlocked('10.1.2.3', ['::ffff:10.1.0.0/112']))
      t.notOk(await isBlocked('fd12::1', ['fd12::/16']))
      t.ok(await isBlocked('fd13::1', ['fd12::/16']))
      t.notOk(await isBlocked('10.0.0.1', ['Service.Internal'], 'service.internal'))
      t.notOk(await isBlocked('10.0.0.1', ['bücher.example'], 'xn--bcher-kva.example'))
      t.notOk(await isBlocked('10.0.0.1', ['*.internal'], 'a.b.internal'))
      t.ok(await isBlocked('10.0.0.1', ['*.internal'], 'internal'))
      t.ok(await isBlocked('10.0.0.1', ['*.internal'], 'evil-internal'))
      t.ok(await isBlocked('10.0.0.1', ['internal'], 'a.internal'))
    }
  )

  t.test('allowing IPv4 ranges allows no IPv6, and the other way round', async (t) => {
    t.ok(await isBlocked('::1', ['0.0.0.0/0']))
    t.ok(await isBlocked('127.0.0.1', ['::/0']))
  })

  t.test('does not let an allowed name lead to the metadata of a cloud', async (t) => {
    for (const address of [
      '169.254.169.254',
      'fd00:ec2::254',
      '::ffff:169.254.169.254',
      'fe80::1'
    ]) {
      t.ok(await isBlocked(address, ['a.internal'], 'a.internal'), address)
    }
    t.notOk(await isBlocked('169.254.169.254', ['169.254.169.254'], 'a.internal'))
  })

  t.test('refuses an allow list that it does not understand', async (t) => {
    const wrong = ['10.0.0.0/33', '10.0.0/8', '1.2.3.4/', '1.2.3.4/8/8', '::/129', '0x7f.1', 'a b']
    for (const entry of [
      ...wrong,
      '',
      '*',
      '*.',
      '*.*.a',
      'http://a',
      'a:80',
      'a/b',
      'fe80::1%lo'
    ]) {
      t.throws(() => new SsrfGuard({ allow: [entry] }), VitalsOptionError, entry)
    }
    t.throws(() => new SsrfGuard({ allow: ['::ffff:10.0.0.0/95'] }), VitalsOptionError)
  })

  t.test('gives on only those of several addresses that may be connected to', async (t) => {
    const lookup = guardedLookup({ lookup: answering('10.0.0.1', '8.8.8.8', '::1', '2606::1') })
    t.same(await found(lookup), ['8.8.8.8', '2606::1'])
  })

  t.test('gives one address to who asks for one', async (t) => {
    const lookup = guardedLookup({ lookup: answering('10.0.0.1', '2606::1', '8.8.8.8') })
    const one = await new Promise((resolve) => {
      lookup('host.example', {}, (...given) => resolve(given))
    })
    t.same(one, [null, '2606::1', 6])
  })

  t.test('understands look-ups that know of one address only, and of none', async (t) => {
    const single: LookupFunction = (_host, _options, callback) => callback(null, '8.8.8.8', 4)
    t.same(await found(guardedLookup({ lookup: single })), ['8.8.8.8'])
    await t.rejects(found(guardedLookup({ lookup: answering() })), BlockedAddressError)
    const missing = Object.assign(new Error('not found'), { code: 'ENOTFOUND' })
    const failing: LookupFunction = (_host, _options, callback) => callback(missing, [])
    await t.rejects(found(guardedLookup({ lookup: failing })), missing)
  })

  t.test('its error can be told apart and tells nobody what is inside', async (t) => {
    const error: unknown = await found(guardedLookup({ lookup: answering('10.9.8.7') })).catch(
      (reason: unknown) => reason
    )
    t.ok(error instanceof VitalsError)
    t.match(error, {
      name: 'BlockedAddressError',
      code: 'VITALS_ADDRESS_BLOCKED',
      reason: 'address'
    })
    t.match(error, { target: 'host.example', address: '10.9.8.7', statusCode: 502 })
    t.notMatch(String(error), '10.9.8.7')
  })
})
