import { VitalsError } from '@fastify-vitals/metrics'
import type { Action } from '@fastify-vitals/metrics'
import Type from 'typebox'
import type { Limiters } from './limiters.ts'

const LONGEST_KEY = 4096

/** Lets somebody in again who was limited by mistake. */
export function forgetKey(limiters: Limiters): Action {
  return {
    name: 'rate-limit-forget',
    description: 'Forgets what a key has used: its limits are whole again',
    parametersSchema: Type.Object({
      key: Type.String({
        minLength: 1,
        maxLength: LONGEST_KEY,
        description: 'an address (of IPv6 its subnet, as 2001:db8:0:0/64), or key: and the key'
      })
    }),
    async run(parameters) {
      const key = parameters?.key
      if (typeof key !== 'string' || key === '' || key.length > LONGEST_KEY) {
        throw new VitalsError('VITALS_KEY_INVALID', 'give the key to forget, as {"key": "…"}')
      }
      const forgotten = await Promise.all(
        limiters.list.map(async (limiter) => ((await limiter.forget(key)) ? [limiter.name] : []))
      )
      return { forgotten_in: forgotten.flat() }
    }
  }
}
