import { isIPv4 } from 'node:net'
import type { LookupFunction } from 'node:net'
import Fastify from 'fastify'
import t from 'tap'
import { Agent, interceptors, request } from 'undici'
import { httpClient } from '../src/index.ts'
import { BlockedAddressError } from '../src/policies/blocked-address-error.ts'
import { checkUrl, SsrfGuard } from '../src/policies/ssrf-guard.ts'
import { appWith, upstream } from './upstreams.ts'

const answering =
  (...addresses: string[]): LookupFunction =>
  (_host, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: isIPv4(address) ? 4 : 6 }))
    )

const reasonOf = (url: string | URL, allow: readonly string[] = []): string | undefined => {
  try {
    checkUrl(url, { allow })
    return undefined
  } catch (error) {
    return error instanceof BlockedAddressError ? error.reason : String(error)
  }
}

const messageOf = (url: string): string => {
  try {
    return checkUrl(url).href
  } catch (error) {
    return String(error)
  }
}

t.test('checking a URL', async (t) => {
  t.test('passes URLs of public hosts on as they are', async (t) => {
    for (const url of ['http://example.com/', 'https://8.8.8.8:8443/a?b', 'https://[2606::1]/']) {
      t.equal(checkUrl(url).href, url)
    }
    t.equal(reasonOf(new URL('https://example.com')), undefined)
  })

  t.test('refuses addresses inside, in any notation', async (t) => {
    const hosts = [
      '127.0.0.1',
      '127.1',
      '0x7f.1',
      '0x7f000001',
      '2130706433',
      '017700000001',
      '0177.0.0.1',
      '127.0.0.1.',
      '%31%32%37.0.0.1',
      '１２７.０.０.１',
      '127。0。0。1',
      '0',
      '[::1]',
      '[::]',
      '[::ffff:7f00:1]',
      '[::ffff:127.0.0.1]',
      '[0:0:0:0:0:ffff:a9fe:a9fe]',
      '[64:ff9b::127.0.0.1]',
      '[fd00:ec2::254]',
      '169.254.169.254',
      '2852039166'
    ]
    for (const host of hosts) t.equal(reasonOf(`http://${host}:8080/`), 'address', host)
    t.equal(reasonOf('http:\\\\127.0.0.1'), 'address')
    t.equal(reasonOf('http://a@127.0.0.1\n/'), 'credentials')
  })

  t.test('refuses other protocols and credentials, and does not repeat them', async (t) => {
    for (const url of [
      'file:///etc/passwd',
      'gopher://a',
      'ftp://a',
      'data:,a',
      'unix:/a',
      'ws://a'
    ]) {
      t.equal(reasonOf(url), 'protocol', url)
    }
    t.equal(checkUrl('ws://a/', { protocols: ['ws:'] }).href, 'ws://a/')
    for (const url of [
      'http://user@a',
      'http://:secret@a',
      'http://user:secret@a/path?key=secret'
    ]) {
      t.equal(reasonOf(url), 'credentials', url)
      t.notMatch(messageOf(url), 'secret')
    }
    for (const url of ['', 'nonsense', '//a', 'http://', 'http://[::1', 'http://1.2.3.4.5']) {
      t.equal(reasonOf(url), 'invalid_url', url)
    }
  })

  t.test('lets through allowed addresses, and leaves names to the look-up', async (t) => {
    t.equal(reasonOf('http://127.0.0.1', ['127.0.0.1']), undefined)
    t.equal(reasonOf('http://0x7f.1', ['127.0.0.0/8']), undefined)
    t.equal(reasonOf('http://localhost'), undefined)
  })
})

t.test('undici behind the guard', async (t) => {
  const { origin, requests } = await upstream(t, (incoming, answer) => {
    if (incoming.url === '/away') answer.writeHead(302, { location: `http://127.0.0.2:${port}/` })
    answer.end('inside')
  })
  const { port } = new URL(origin)

  const agentOf = (guard: SsrfGuard): Agent => {
    const agent = new Agent({ connect: guard.connector(), pipelining: 0 })
    t.teardown(() => agent.close())
    return agent
  }
  const blocked = { name: 'BlockedAddressError', code: 'VITALS_ADDRESS_BLOCKED' }

  t.test('connects to nothing inside, by name or by address', async (t) => {
    const dispatcher = agentOf(new SsrfGuard({ lookup: answering('127.0.0.1') }))
    const before = requests.length
    for (const host of ['inside.example', '127.0.0.1', '[::1]', '[::ffff:7f00:1]', '0x7f.1']) {
      await t.rejects(request(`http://${host}:${port}/`, { dispatcher }), blocked, host)
    }
    await t.rejects(request(`https://127.0.0.1:${port}/`, { dispatcher }), blocked)
    t.equal(requests.length, before)
  })

  t.test('connects to nothing inside through the look-up of the system', async (t) => {
    const dispatcher = agentOf(new SsrfGuard())
    await t.rejects(request(`http://localhost:${port}/`, { dispatcher }), blocked)
  })

  t.test('connects to the very address that was checked, looked up once', async (t) => {
    let lookups = 0
    const lookup: LookupFunction = (host, options, callback) => {
      lookups++
      answering('169.254.169.254', '127.0.0.1')(host, options, callback)
    }
    const dispatcher = agentOf(new SsrfGuard({ allow: ['127.0.0.1'], lookup }))
    const { body } = await request(`http://service.example:${port}/`, { dispatcher })
    t.equal(await body.text(), 'inside')
    t.equal(lookups, 1)
  })

  t.test('a name that leads elsewhere the next time is blocked the next time', async (t) => {
    const answers = [answering('127.0.0.1'), answering('10.0.0.1')]
    const lookup: LookupFunction = (...given) => answers.shift()!(...given)
    const dispatcher = agentOf(new SsrfGuard({ allow: ['127.0.0.1'], lookup }))
    const get = (): Promise<unknown> =>
      request(`http://rebinding.example:${port}/`, { dispatcher, reset: true }).then(({ body }) =>
        body.text()
      )
    t.equal(await get(), 'inside')
    await t.rejects(get(), blocked)
  })

  t.test('follows no redirect to the inside', async (t) => {
    const agent = agentOf(new SsrfGuard({ allow: ['127.0.0.1'] }))
    const dispatcher = agent.compose(interceptors.redirect({ maxRedirections: 3 }))
    await t.rejects(request(`http://127.0.0.1:${port}/away`, { dispatcher }), blocked)
  })
})

t.test('the SSRF guard refuses what is not public, by address and by name', async (t) => {
  const up = await upstream(t, (_request, response) => void response.end('secret'))
  const byName = { origin: up.origin.replace('127.0.0.1', 'localhost') }
  const guarded = await appWith(t, byName, { ssrfGuard: {} })
  await t.rejects(guarded.httpClient('up').request({ path: '/' }), {
    code: 'VITALS_ADDRESS_BLOCKED'
  })
  t.equal(guarded.breakers.list()[0]!.figures.windowFailures, 0)
  const allowed = await appWith(t, byName, {
    ssrfGuard: { allow: ['localhost'] },
    idleTimeoutMs: 100
  })
  t.equal(await (await allowed.httpClient('up').request({ path: '/' })).body.text(), 'secret')
  for (const origin of [
    'http://127.0.0.1',
    'http://0x7f.1',
    'http://[::ffff:10.0.0.1]',
    'http://169.254.169.254'
  ]) {
    const app = Fastify()
    await t.rejects(
      async () => {
        await app.register(httpClient, { clients: { up: { origins: [origin], ssrfGuard: {} } } })
      },
      { code: 'VITALS_OPTION_INVALID', message: /"origins" must be public/ },
      origin
    )
  }
})
