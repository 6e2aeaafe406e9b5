const GROUPS = 8
const GROUP_BITS = 16
const MAPPED = '::ffff:'

/**
 * The key of an address: IPv4 as it is, also when mapped into IPv6; of IPv6 the subnet, because
 * whoever has one address of it has them all.
 *
 * @param subnetBits 1 to 128; 64 is what a provider gives to one customer at least
 */
export function ipKey(ip: string, subnetBits: number): string {
  if (!ip.includes(':')) return ip
  const groups = groupsOf(ip)
  if (groups === undefined) return ip
  const mapped = mappedIpv4(groups)
  if (mapped !== undefined) return mapped
  const kept = groups.map((group, i) => {
    const bits = Math.min(GROUP_BITS, Math.max(0, subnetBits - i * GROUP_BITS))
    return (group & (0xffff << (GROUP_BITS - bits)) & 0xffff).toString(16)
  })
  return `${kept.slice(0, Math.ceil(subnetBits / GROUP_BITS)).join(':')}/${subnetBits}`
}

/** An address without its zone, and IPv4 without the prefix that maps it into IPv6. */
export function plainAddress(ip: string): string {
  const address = ip.includes('%') ? ip.slice(0, ip.indexOf('%')) : ip
  if (!address.startsWith(MAPPED) || !address.includes('.')) return address
  return address.slice(MAPPED.length)
}

/** The eight groups of an IPv6 address; `undefined` for what is none. */
function groupsOf(ip: string): number[] | undefined {
  const [head = '', tail, ...more] = plainIpv6(ip).split('::')
  if (more.length > 0) return undefined
  const before = parts(head)
  const after = tail === undefined ? [] : parts(tail)
  const missing = GROUPS - before.length - after.length
  if (missing < 0 || (tail === undefined && missing > 0)) return undefined
  const groups = [...before, ...Array.from({ length: missing }, () => 0), ...after]
  return groups.every((group) => group >= 0 && group <= 0xffff) ? groups : undefined
}

/** Without its zone, and with a dotted end written as two groups. */
function plainIpv6(ip: string): string {
  const address = ip.includes('%') ? ip.slice(0, ip.indexOf('%')) : ip
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address)
  if (dotted === null) return address
  const [a = 0, b = 0, c = 0, d = 0] = dotted.slice(2).map(Number)
  return `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
}

function parts(text: string): number[] {
  if (text === '') return []
  return text.split(':').map((part) => (/^[0-9a-f]{1,4}$/i.test(part) ? parseInt(part, 16) : -1))
}

function mappedIpv4(groups: readonly number[]): string | undefined {
  const [a, b, c, d, e, marker, high = 0, low = 0] = groups
  if (a || b || c || d || e || marker !== 0xffff) return undefined
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}
