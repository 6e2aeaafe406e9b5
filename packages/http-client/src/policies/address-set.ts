import { BlockList, isIP, isIPv4 } from 'node:net'

/** Addresses and ranges of both families. Apart, as BlockList finds IPv4 in `::/3` and the like. */
export class AddressSet {
  readonly #v4 = new BlockList()
  readonly #v6 = new BlockList()

  /** @param ranges that are known to be right */
  constructor(ranges: readonly string[]) {
    for (const range of ranges) this.add(range)
  }

  /**
   * @param range address, or address and number of bits: `10.0.0.0/8`
   * @returns false when it is neither; then nothing was added
   */
  add(range: string): boolean {
    const [address = '', bits, ...rest] = range.split('/')
    const plain = unembedded(address)
    if (plain === undefined || rest.length > 0) return false
    const width = isIPv4(plain) ? 32 : 128
    // ::ffff:10.0.0.0/104 is 10.0.0.0/8
    const embedding = width === 32 && !isIPv4(address) ? 96 : 0
    const prefix = bits === undefined ? width : wholeNumber(bits) - embedding
    if (!(prefix >= 0 && prefix <= width)) return false
    if (width === 32) this.#v4.addSubnet(plain, prefix, 'ipv4')
    else this.#v6.addSubnet(plain, prefix, 'ipv6')
    return true
  }

  /** @param plain what {@link unembedded} gave */
  has(plain: string): boolean {
    return isIPv4(plain) ? this.#v4.check(plain, 'ipv4') : this.#v6.check(plain, 'ipv6')
  }
}

const MAPPED = /^::ffff:(?<high>[\da-f]{1,4}):(?<low>[\da-f]{1,4})$/
/** RFC 6052: networks without IPv4 reach it by these, so they are as public as what they embed. */
const NAT64 = /^64:ff9b::(?:(?<high>[\da-f]{1,4}):)?(?<low>[\da-f]{1,4})$/

/**
 * An address in one form: IPv4 also where an IPv6 address only stands for one (mapped, NAT64), and
 * IPv6 shortened. `undefined` when it is no address, or has a zone (`fe80::1%eth0`).
 */
export function unembedded(address: string): string | undefined {
  if (isIPv4(address)) return address
  if (isIP(address) !== 6 || address.includes('%')) return undefined
  // the URL standard writes each address in one way
  const short = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const groups = (MAPPED.exec(short) ?? NAT64.exec(short))?.groups
  return groups === undefined ? short : dotted(groups['high'] ?? '0', groups['low'] ?? '0')
}

/** Two groups of IPv6 in hexadecimal, as IPv4. */
function dotted(high: string, low: string): string {
  return [high, low]
    .map((group) => Number.parseInt(group, 16))
    .map((group) => `${group >> 8}.${group & 255}`)
    .join('.')
}

function wholeNumber(digits: string): number {
  return /^\d{1,3}$/.test(digits) ? Number(digits) : Number.NaN
}
