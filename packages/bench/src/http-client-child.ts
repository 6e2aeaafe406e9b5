// Calls an upstream in several ways, in turn, and tells the processor time that a call took in each.
import { httpClient } from '@fastify-vitals/http-client'
import type { ClientPolicyOptions } from '@fastify-vitals/http-client'
import Fastify from 'fastify'
import { Pool } from 'undici'
import { CLIENT_WAYS, CONNECTIONS } from './http-client.ts'
import type { ClientWay } from './http-client.ts'

type CallOnce = () => Promise<unknown>

const [origin = '', callsText = ''] = process.argv.slice(2)
const calls = Number(callsText)

const OPTIONS: Readonly<Partial<Record<ClientWay, ClientPolicyOptions>>> = {
  vitals: {},
  'vitals, no breaker, no retry': { breaker: false, retry: false },
  // so late that none is sent: what it costs to be ready
  'vitals, hedging armed': { hedge: { delayMs: 10_000 } }
}

const app = Fastify()
await app.register(httpClient, { defaults: { connections: CONNECTIONS } })
await app.ready()

function plain(): CallOnce {
  const pool = new Pool(origin, { connections: CONNECTIONS })
  return async () => {
    const { body } = await pool.request({ path: '/', method: 'GET' })
    return await body.json()
  }
}

function ours(name: string, options: ClientPolicyOptions): CallOnce {
  const client = app.httpClient(name, { origins: [origin], ...options })
  return async () => {
    const { body } = await client.request({ path: '/' })
    return await body.json()
  }
}

const ways = new Map(
  CLIENT_WAYS.map((way) => {
    const options = OPTIONS[way]
    return [way, options === undefined ? plain() : ours(way, options)] as const
  })
)

/** @returns microseconds of processor time a call */
async function cost(callOnce: CallOnce): Promise<number> {
  let begun = 0
  const work = async (): Promise<void> => {
    while (begun++ < calls) await callOnce()
  }
  const before = process.cpuUsage()
  await Promise.all(Array.from({ length: CONNECTIONS }, work))
  const { user, system } = process.cpuUsage(before)
  return (user + system) / calls
}

async function round(): Promise<void> {
  const result: Record<string, number> = {}
  for (const [way, callOnce] of ways) result[way] = await cost(callOnce)
  process.send?.(result)
}

process.on('message', () => void round())
process.send?.('ready')
