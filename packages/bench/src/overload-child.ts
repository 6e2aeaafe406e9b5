// A server of a known capacity, behind one kind of protection: `overload-child VARIANT WORKLOAD`.
import overload from '@fastify-vitals/overload'
import underPressure from '@fastify/under-pressure'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { processorWaitMs } from './overload-processor-wait.ts'
import { POOL_QUERY_MS, POOL_SIZE, SPIN_MS } from './overload-workloads.ts'
import type { OverloadVariant, Workload } from './overload-workloads.ts'

const [variant, workload] = process.argv.slice(2) as [OverloadVariant, Workload]

/** Work for the processor, always the same amount, that takes about `SPIN_MS` on an idle core. */
function spin(rounds: number): number {
  let x = 1
  for (let i = 0; i < rounds; i++) x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + i
  return x
}

function calibrate(): number {
  const ROUNDS = 1_000_000
  const times: number[] = []
  for (let i = 0; i < 30; i++) {
    const startMs = performance.now()
    spin(ROUNDS)
    times.push(performance.now() - startMs)
  }
  return Math.round((ROUNDS * SPIN_MS) / Math.min(...times))
}

/** So many connections to something that takes its time; the others queue, first come first served. */
class Pool {
  #free = POOL_SIZE
  readonly #waiting: (() => void)[] = []

  async query(): Promise<void> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#free--
    await new Promise((resolve) => setTimeout(resolve, POOL_QUERY_MS))
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}

async function protect(app: FastifyInstance): Promise<void> {
  if (variant === 'ours') await app.register(overload)
  if (variant === 'under-pressure') {
    await app.register(underPressure, {
      maxEventLoopDelay: 100,
      maxEventLoopUtilization: 0.98,
      sampleInterval: 100,
      retryAfter: 1
    })
  }
}

const rounds = calibrate()
const pool = new Pool()
const app = Fastify()
await protect(app)
app.get('/', async () => {
  if (workload !== 'cpu') await pool.query()
  if (workload !== 'pool') spin(rounds)
  return { ok: true }
})
await app.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
process.on('disconnect', () => process.exit())
// how long it has waited for a processor so far, which tells whether others disturbed the run
process.on('message', () => process.send?.({ waitMs: processorWaitMs() }))
const address = app.server.address()
process.send?.({ port: typeof address === 'object' ? address?.port : undefined })
