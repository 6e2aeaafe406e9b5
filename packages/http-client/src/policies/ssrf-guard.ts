import { lookup as systemLookup } from 'node:dns'
import { isIP } from 'node:net'
import type { LookupFunction } from 'node:net'
import { buildConnector } from 'undici'
import { AddressPolicy } from './address-policy.ts'
import { BlockedAddressError } from './blocked-address-error.ts'

export interface SsrfGuardOptions {
  /** Addresses, ranges, host names and `*.host` names that may be reached though they are not public. */
  readonly allow?: readonly string[]
  /** With the colon. Default: `http:` and `https:`. */
  readonly protocols?: readonly string[]
  /** Instead of that of the system. Called with `all: true`. */
  readonly lookup?: LookupFunction
}

const PROTOCOLS: readonly string[] = ['http:', 'https:']

/**
 * Keeps calls to URLs that somebody else chose away from our own network. One for a pool.
 *
 * The address that was checked is the one connected to, so a name that changes its mind between
 * two look-ups (DNS rebinding) gains nothing. A proxy resolves names itself: then this can't help.
 */
export class SsrfGuard {
  /**
   * For `net.connect` and undici's `connect: { lookup }`. Not enough by itself: an address written
   * in the URL is never looked up. {@link connector} has both.
   */
  readonly lookup: LookupFunction
  readonly #policy: AddressPolicy
  readonly #protocols: ReadonlySet<string>

  /** @throws VitalsOptionError for an entry of `allow` that can't be understood */
  constructor({ allow, protocols = PROTOCOLS, lookup = systemLookup }: SsrfGuardOptions = {}) {
    this.#policy = new AddressPolicy(allow)
    this.#protocols = new Set(protocols)
    this.lookup = checkedLookup(this.#policy, lookup)
  }

  /**
   * Refuses what can be seen to be wrong before anything is looked up: of the protocol, credentials,
   * and addresses in any notation (`0x7f.1`, `2130706433`, `[::ffff:7f00:1]`: URL makes them one).
   * @throws BlockedAddressError
   */
  checkUrl(url: string | URL): URL {
    const parsed = parse(url)
    if (!this.#protocols.has(parsed.protocol))
      throw new BlockedAddressError('protocol', where(parsed))
    if (parsed.username !== '' || parsed.password !== '') {
      throw new BlockedAddressError('credentials', where(parsed))
    }
    this.#checkLiteral(parsed.hostname)
    return parsed
  }

  /**
   * For `connect` of an Agent, Pool or Client of undici. Every connection passes here, those of
   * redirects too.
   */
  connector(options: buildConnector.BuildOptions = {}): buildConnector.connector {
    const connect = buildConnector({ ...options, lookup: this.lookup })
    return (target, callback) => {
      try {
        this.#checkLiteral(target.hostname)
      } catch (error) {
        queueMicrotask(() => callback(error as Error, null))
        return
      }
      connect(target, callback)
    }
  }

  /** Names are left to the look-up. */
  #checkLiteral(hostname: string): void {
    const address = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
    if (isIP(address) !== 0 && !this.#policy.permits(address)) {
      throw new BlockedAddressError('address', hostname, address)
    }
  }
}

/** {@link SsrfGuard.lookup} by itself. */
export function guardedLookup(options?: SsrfGuardOptions): LookupFunction {
  return new SsrfGuard(options).lookup
}

/** {@link SsrfGuard.checkUrl} by itself. For more than one URL, keep a guard: it reads `allow` once. */
export function checkUrl(url: string | URL, options?: SsrfGuardOptions): URL {
  return new SsrfGuard(options).checkUrl(url)
}

/** Looks all addresses up once, and gives on only those that may be connected to. */
function checkedLookup(policy: AddressPolicy, lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, [])
      const all = (Array.isArray(found) ? found : [{ address: found }]).map(
        ({ address }) => address
      )
      const permitted = all.filter((address) => policy.permits(address, hostname))
      const [first] = permitted
      if (first === undefined) {
        return callback(new BlockedAddressError('address', hostname, all[0]), [])
      }
      if (options.all !== true) return callback(null, first, isIP(first))
      callback(
        null,
        permitted.map((address) => ({ address, family: isIP(address) }))
      )
    })
  }
}

function parse(url: string | URL): URL {
  try {
    return new URL(url)
  } catch {
    throw new BlockedAddressError('invalid_url', 'invalid URL')
  }
}

/** Without credentials, path and query, which may hold secrets. */
function where({ protocol, host }: URL): string {
  return `${protocol}//${host}`
}
