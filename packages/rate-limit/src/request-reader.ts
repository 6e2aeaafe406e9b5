import type { FastifyRequest } from 'fastify'
import { ipKey } from './ip-key.ts'
import type { Callback } from './rate-limit-metrics.ts'
import type { CostSource, KeySource } from './options.ts'

/** Reads something of a request. */
export type Read<Value> = (request: FastifyRequest) => Value

/** What reads who a request is for, as the hub knows it. */
export type Identify = (who: 'user' | 'tenant') => Read<string | undefined>

/** Told when something of the user's gave nothing usable. */
export type OnBadCallback = (callback: Callback, error: unknown) => void

/** What reading a key needs of the app. */
export interface KeyParts {
  readonly ipv6SubnetBits: number
  readonly identify: Identify
  readonly look: (request: FastifyRequest) => void
  readonly onBad: OnBadCallback
}

/**
 * What reads the key of a request. Whatever gives none, or throws, is answered with the key of the
 * address: nobody goes without a limit by leaving a header out.
 */
export function keyReader(source: KeySource, parts: KeyParts): Read<string> {
  const { ipv6SubnetBits, identify, look, onBad } = parts
  const byAddress: Read<string> = (request) => {
    look(request)
    return ipKey(request.ip ?? '', ipv6SubnetBits)
  }
  if (source === 'ip') return byAddress
  const read = sourceReader(source, identify)
  const isOwn = typeof source === 'function'
  return (request) => {
    try {
      const key: unknown = read(request)
      if (typeof key === 'string' && key !== '') return `key:${key}`
      if (typeof key === 'number') return `key:${key}`
      if (isOwn) onBad('key', new TypeError('the key function must return a string'))
    } catch (error) {
      onBad('key', error)
    }
    return byAddress(request)
  }
}

function sourceReader(source: Exclude<KeySource, 'ip'>, identify: Identify): Read<unknown> {
  if (typeof source === 'function') return source
  if (typeof source === 'string') return identify(source)
  const name = source.header.toLowerCase()
  return (request) => request.headers[name]
}

/** What reads the cost of a request; a cost that makes no sense counts as 1. */
export function costReader(source: CostSource, onBad: OnBadCallback): Read<number> | number {
  if (typeof source === 'number') return source
  return (request) => {
    try {
      const cost: unknown = source(request)
      if (typeof cost === 'number' && cost > 0 && Number.isFinite(cost)) return Math.ceil(cost)
      onBad('cost', new RangeError('the cost function must return a number above 0'))
    } catch (error) {
      onBad('cost', error)
    }
    return 1
  }
}
