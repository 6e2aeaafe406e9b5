// Calls an action through one way of breaking, or keeps some breakers idle, in a process of its own.
// Tells the processor time that took.
import circuitBreaker from '@fastify-vitals/circuit-breaker'
import type { BreakerOptions } from '@fastify-vitals/circuit-breaker'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import Opossum from 'opossum'
import { IDLE_WAYS, WAYS } from './breaker.ts'
import type { IdleWay, Way } from './breaker.ts'
import { median } from './statistics.ts'

const WARM_UP = 60_000
const BATCHES = 5
const BATCH = 40_000
const IDLE_BREAKERS = 100
const CALLS_BEFORE_IDLING = 10
/** What the last calls left behind is done by then: time-outs of 10 s, and slots of the history of 5 s. */
const SETTLE_MS = 12_000

type Call = (value: number) => Promise<number>

const action: Call = async (value) => value

async function appWithBreakers(): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(circuitBreaker)
  return app
}

async function ours(options: BreakerOptions<[number], number>): Promise<Call> {
  const app = await appWithBreakers()
  const breaker = app.breaker('bench', action, options)
  return (value) => breaker.fire(value)
}

function opossum(options: Opossum.Options): Call {
  const breaker = new Opossum(action, options)
  return (value) => breaker.fire(value)
}

/** The least that can be called a breaker: a share of failures in a window, and nothing else. */
function minimal(): Call {
  const windowMs = 10_000
  let endMs = 0
  let calls = 0
  let failures = 0
  let openUntilMs = 0
  const note = (isFailure: boolean): void => {
    const nowMs = performance.now()
    if (nowMs >= endMs) {
      endMs = nowMs + windowMs
      calls = failures = 0
    }
    calls++
    if (!isFailure) return
    failures++
    if (calls >= 10 && failures * 2 >= calls) openUntilMs = nowMs + windowMs
  }
  return async (value) => {
    if (openUntilMs > 0 && performance.now() < openUntilMs) throw new Error('open')
    try {
      const result = await action(value)
      note(false)
      return result
    } catch (error) {
      note(true)
      throw error
    }
  }
}

async function prepare(way: Way): Promise<Call> {
  if (way.startsWith('opossum, defaults')) return opossum({})
  if (way === 'opossum, lean') {
    return opossum({ timeout: false, rollingPercentilesEnabled: false, enableSnapshots: false })
  }
  if (way === 'vitals, time-out') return await ours({})
  if (way === 'vitals, no time-out') return await ours({ timeoutMs: false })
  if (way === 'minimal breaker') return minimal()
  return action
}

/** Nanoseconds of processor time a call, one after another. */
async function batch(call: Call, calls: number): Promise<number> {
  const before = process.cpuUsage()
  let sum = 0
  for (let i = 0; i < calls; i++) sum += await call(i)
  const { user, system } = process.cpuUsage(before)
  if (sum !== (calls * (calls - 1)) / 2) throw new Error('a call did not answer as it should')
  return ((user + system) * 1000) / calls
}

async function measureCalls(way: Way): Promise<number> {
  const call = await prepare(way)
  await batch(call, WARM_UP)
  const all: number[] = []
  for (let i = 0; i < BATCHES; i++) all.push(await batch(call, BATCH))
  return median(all)
}

/** Milliseconds of processor time that a process with idle breakers takes in a while. */
async function measureIdle(way: IdleWay, idleMs: number): Promise<number> {
  const app = await appWithBreakers()
  const kept: unknown[] = []
  for (let i = 0; i < (way === 'none' ? 0 : IDLE_BREAKERS); i++) {
    const breaker = way === 'vitals' ? app.breaker(`b${i}`, action) : new Opossum(action)
    for (let calls = 0; calls < CALLS_BEFORE_IDLING; calls++) await breaker.fire(calls)
    kept.push(breaker)
  }
  const alive = setTimeout(() => {}, 2 ** 30)
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  const before = process.cpuUsage()
  await new Promise((resolve) => setTimeout(resolve, idleMs))
  const { user, system } = process.cpuUsage(before)
  clearTimeout(alive)
  return kept.length < 0 ? 0 : (user + system) / 1000
}

const [kind, name, idleMs] = process.argv.slice(2)
const way = WAYS.find((each) => each === name)
const idleWay = IDLE_WAYS.find((each) => each === name)
if (kind === 'call' && way !== undefined) process.send?.(await measureCalls(way))
else if (kind === 'idle' && idleWay !== undefined) {
  process.send?.(await measureIdle(idleWay, Number(idleMs)))
} else throw new Error(`unknown: ${kind} ${name}`)
