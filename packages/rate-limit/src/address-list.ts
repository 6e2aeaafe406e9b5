import { BlockList, isIP } from 'node:net'
import { VitalsOptionError } from '@fastify-vitals/metrics'
import { plainAddress } from './ip-key.ts'

/** Whether an address is on a list. */
export type AddressTest = (ip: string) => boolean

/**
 * A list of addresses and of networks in CIDR notation, of both families.
 * @returns `undefined` for an empty list, so that nothing is asked per request
 * @throws VitalsOptionError naming an entry that is neither
 */
export function addressList(
  plugin: string,
  option: string,
  entries: readonly string[]
): AddressTest | undefined {
  if (entries.length === 0) return undefined
  const list = new BlockList()
  for (const entry of entries) {
    if (!add(list, entry)) {
      throw new VitalsOptionError(
        plugin,
        option,
        `must have addresses or networks such as 10.0.0.0/8, got ${JSON.stringify(entry)}`
      )
    }
  }
  return (ip) => {
    const address = plainAddress(ip)
    const family = isIP(address)
    return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6')
  }
}

function add(list: BlockList, entry: string): boolean {
  const [address = '', bits, ...more] = entry.split('/')
  const family = isIP(address)
  const most = family === 4 ? 32 : 128
  if (family === 0 || more.length > 0) return false
  const type = family === 4 ? 'ipv4' : 'ipv6'
  if (bits === undefined) list.addAddress(address, type)
  else if (!/^\d{1,3}$/.test(bits) || Number(bits) > most) return false
  else list.addSubnet(address, Number(bits), type)
  return true
}
