/** `[name or address, bits]` of everything blocked, counted by hand and without BlockList. */
export const RANGES_V4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3]
]

export const v4Number = (address: string): number =>
  address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)

export const v4Text = (value: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')

export function isBlockedV4(value: number): boolean {
  return RANGES_V4.some(([start, bits]) => {
    const size = 2 ** (32 - bits)
    return Math.floor(value / size) === Math.floor(v4Number(start) / size)
  })
}

const groupsOf = (value: bigint): number[] =>
  Array.from({ length: 8 }, (_, at) => Number((value >> BigInt(112 - at * 16)) & 0xffffn))

export const v6Text = (value: bigint): string =>
  groupsOf(value)
    .map((group) => group.toString(16))
    .join(':')

export function isBlockedV6(value: bigint): boolean {
  const embedded = value & 0xffffffffn
  if (value >> 32n === 0xffffn) return isBlockedV4(Number(embedded))
  if (value >> 32n === 0x64ff9b0000000000000000n) return isBlockedV4(Number(embedded))
  if (value >> 125n !== 1n) return true
  const [first = 0, second = 0] = groupsOf(value)
  if (first === 0x2001) return second < 0x200 || second === 0xdb8
  return first === 0x2002 || first === 0x3ffe || (first === 0x3fff && second < 0x1000)
}
