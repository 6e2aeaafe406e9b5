import { VitalsOptionError } from '@fastify-vitals/metrics'
import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { AddressSet, unembedded } from './address-set.ts'

const NAME = '@fastify-vitals/http-client'

/** What is not a public host, by the IANA registries of special addresses, and one more. */
const BLOCKED: readonly string[] = [
  '0.0.0.0/8', // this host
  '10.0.0.0/8', // private
  '100.64.0.0/10', // shared by carriers (CGNAT); Alibaba's metadata
  '127.0.0.0/8', // loopback
  '168.63.129.16/32', // Azure's platform, public by its looks
  '169.254.0.0/16', // link-local; metadata of most clouds
  '172.16.0.0/12', // private
  '192.0.0.0/24', // protocols; Oracle's metadata
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // relays of 6to4
  '192.168.0.0/16', // private
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved; broadcast

  // of IPv6 only 2000::/3 is handed out to hosts: outside of it are loopback, unique local,
  // link-local, multicast, translated, compatible and what nobody has assigned
  '::/3',
  '4000::/2',
  '8000::/1',
  '2001::/23', // protocols; Teredo, which embeds IPv4 in disguise
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4, which embeds IPv4
  '3ffe::/16', // 6bone
  '3fff::/20' // documentation
]

/** Metadata of clouds, not even for a host that is allowed by name: what a name leads to is for others to say. */
const NEVER_BY_NAME: readonly string[] = [
  '100.100.100.200/32',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '192.0.0.192/32',
  'fd00:ec2::/32',
  'fd20:ce::/32',
  'fe80::/10'
]

/**
 * Which addresses may be connected to: those of public hosts, and those that were allowed.
 * Built once; a check takes a few microseconds, and is made for a connection, not for a request.
 */
export class AddressPolicy {
  readonly #blocked = new AddressSet(BLOCKED)
  readonly #neverByName = new AddressSet(NEVER_BY_NAME)
  readonly #allowed = new AddressSet([])
  readonly #allowedHosts = new Set<string>()
  readonly #allowedSuffixes: string[] = []

  /**
   * @param allow addresses, ranges (`10.1.0.0/16`), host names, or all names below one (`*.internal.example`)
   * @throws VitalsOptionError for an entry that is none of these
   */
  constructor(allow: readonly string[] = []) {
    for (const entry of allow) this.#allow(entry)
  }

  /**
   * @param address IPv4 or IPv6; what is no address is not permitted
   * @param host name it was found by, if any
   */
  permits(address: string, host?: string): boolean {
    const plain = unembedded(address)
    if (plain === undefined) return false
    if (!this.#blocked.has(plain) || this.#allowed.has(plain)) return true
    return host !== undefined && this.#isAllowedHost(host) && !this.#neverByName.has(plain)
  }

  #isAllowedHost(host: string): boolean {
    const name = normalName(host)
    return (
      this.#allowedHosts.has(name) || this.#allowedSuffixes.some((suffix) => name.endsWith(suffix))
    )
  }

  #allow(entry: string): void {
    if (this.#allowed.add(entry)) return
    const isSuffix = entry.startsWith('*.')
    const host = isSuffix ? entry.slice(2) : entry
    const name = normalName(host)
    if (!isHostName(host, name)) {
      throw new VitalsOptionError(
        NAME,
        'allow',
        `must hold addresses, ranges such as 10.0.0.0/8, host names or *.host names, got "${entry.slice(0, 80)}"`
      )
    }
    if (isSuffix) this.#allowedSuffixes.push(`.${name}`)
    else this.#allowedHosts.add(name)
  }
}

/** As URL has it: lower case, punycode, and without the dot of the root. */
function normalName(host: string): string {
  return domainToASCII(host).replace(/\.$/, '')
}

/** Not `x/y`, of which the name would be `x`, and not 0x7f.1, an address in disguise: its name is 127.0.0.1. */
function isHostName(host: string, name: string): boolean {
  const isPlain = !/[^\p{L}\p{M}\p{N}._-]/u.test(host)
  return isPlain && /^[a-z\d_](?:[a-z\d_.-]{0,251}[a-z\d_])?$/.test(name) && isIP(name) === 0
}
