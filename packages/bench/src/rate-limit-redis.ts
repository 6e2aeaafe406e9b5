import { setTimeout as wait } from 'node:timers/promises'
import { slowWire, startRedis } from '@fastify-vitals/testing'
import type { RedisServer, SlowWire } from '@fastify-vitals/testing'
import { parseOptions } from './arguments.ts'
import { CAN_PIN, Child, LOAD_CORE, SERVER_CORE, pin } from './child-process.ts'
import type { LimitedFigures } from './limited-child.ts'
import { openLoad } from './open-load.ts'
import { machine, printTable, verdict, writeJson } from './report.ts'

const PROCESSES = 4
const SHARED_LIMIT = 2000
const PER_SECOND = 2000
const TIMEOUT_MS = 100
/** A timer that is due and a turn of the loop that must end first. */
const TIMER_TOLERANCE_MS = 15
const MOST_SECONDS_TO_RETURN = 5
/** What all instances may grant together; two are declared, so half of it is this one's share. */
const LIMITS = { requestsPerSecond: 400, burstSize: 400 }
const INSTANCES = 2

interface Outage {
  readonly name: string
  begin(redis: RedisServer, wire: SlowWire): void | Promise<void>
  end(redis: RedisServer, wire: SlowWire): void | Promise<void>
}

const OUTAGES: readonly Outage[] = [
  { name: 'none', begin() {}, end() {} },
  {
    name: 'killed',
    begin: async (redis) => await redis.kill(),
    end: async (redis) => await redis.restart()
  },
  { name: 'paused (SIGSTOP)', begin: (redis) => redis.pause(), end: (redis) => redis.resume() },
  {
    name: 'answers 400 ms late',
    begin: (_, wire) => wire.delay(400),
    end: (_, wire) => wire.delay(0)
  }
]

/** What one outage did to the requests that came during it. */
interface OutageFigures {
  readonly redis: string
  readonly sent: number
  readonly failed: number
  readonly let_in: number
  readonly share_allows: number
  readonly decided_by_share: number
  readonly slowest_wait_ms: number
  readonly seconds_to_return: number
}

/** A limit that processes share: exact while Redis is there, bounded while it is not. */
export async function rateLimitRedis(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'quick'])
  const seconds = options.quick ? 3 : 8
  console.log(`${machine()}\n`)
  if (!CAN_PIN) console.log('processes are not kept on cores of their own here: expect more noise')
  pin(process.pid, LOAD_CORE)
  const letIn = await sharedBy(PROCESSES)
  const rows: OutageFigures[] = []
  for (const outage of OUTAGES) {
    process.stderr.write(`rate-limit-redis: ${outage.name}\n`)
    rows.push(await during(outage, seconds))
  }
  console.log(`${PER_SECOND} requests a second for ${seconds} s to one of ${INSTANCES} instances\n`)
  printTable(
    [
      'Redis',
      'requests',
      'failed',
      'by its share',
      'let in',
      'share allows',
      'slowest wait ms',
      'shared again after s'
    ],
    rows.map((row) => [
      row.redis,
      String(row.sent),
      String(row.failed),
      String(row.decided_by_share),
      String(row.let_in),
      row.share_allows.toFixed(0),
      row.slowest_wait_ms.toFixed(1),
      row.seconds_to_return.toFixed(1)
    ])
  )
  console.log('')
  const isKept = judge(letIn, rows)
  writeJson(options.json, {
    node: process.version,
    shared_limit: SHARED_LIMIT,
    let_in: letIn,
    outages: rows
  })
  return isKept
}

/** @returns how many of twice the limit got through, asked of several processes at once */
async function sharedBy(processes: number): Promise<number> {
  const redis = await ownRedis()
  const limits = {
    requestsPerSecond: 0.0001,
    burstSize: SHARED_LIMIT,
    redis: { timeoutMs: 10_000 }
  }
  const children = await Promise.all(
    Array.from({ length: processes }, () => startServer(redis.port, limits))
  )
  const each = await Promise.all(
    children.map(async ({ port }) => await openLoad(port, SHARED_LIMIT / processes, 2))
  )
  for (const { child } of children) await child.stop()
  await redis.stop()
  return each.reduce((sum, { ok }) => sum + ok, 0)
}

async function during(outage: Outage, seconds: number): Promise<OutageFigures> {
  const redis = await ownRedis()
  const wire = await slowWire(redis.port)
  const { child, port } = await startServer(wire.port, {
    ...LIMITS,
    redis: { timeoutMs: TIMEOUT_MS, instances: INSTANCES }
  })
  try {
    await openLoad(port, PER_SECOND, 2)
    await figuresOf(child)
    await outage.begin(redis, wire)
    const startMs = performance.now()
    const { sent, ok, failed } = await openLoad(port, PER_SECOND, seconds)
    const lastedSeconds = (performance.now() - startMs) / 1000
    const figures = await figuresOf(child)
    await outage.end(redis, wire)
    const seconds_to_return = await secondsUntilUp(child)
    const isAway = figures.degraded > 0
    const parts = isAway ? INSTANCES : 1
    return {
      redis: outage.name,
      sent,
      failed,
      let_in: ok,
      share_allows: (LIMITS.burstSize + LIMITS.requestsPerSecond * lastedSeconds) / parts + 1,
      decided_by_share: figures.degraded,
      slowest_wait_ms: figures.slowestMs,
      seconds_to_return
    }
  } finally {
    await child.stop()
    wire.close()
    await redis.stop()
  }
}

async function secondsUntilUp(child: Child): Promise<number> {
  const startMs = performance.now()
  for (;;) {
    const { isUp } = await figuresOf(child)
    const seconds = (performance.now() - startMs) / 1000
    if (isUp || seconds > 3 * MOST_SECONDS_TO_RETURN) return seconds
    await wait(50)
  }
}

function judge(letIn: number, rows: readonly OutageFigures[]): boolean {
  const away = rows.filter(({ redis }) => redis !== 'none')
  const most = Math.max(...away.map(({ slowest_wait_ms }) => slowest_wait_ms))
  return [
    verdict(
      `${PROCESSES} processes that share a limit of ${SHARED_LIMIT} let through ${letIn}`,
      letIn === SHARED_LIMIT
    ),
    verdict(
      'no request fails',
      rows.every(({ failed }) => failed === 0)
    ),
    verdict(
      `no request waits longer than the time-out of ${TIMEOUT_MS} ms (and ${TIMER_TOLERANCE_MS} ms of a timer): ${most.toFixed(1)} ms`,
      most <= TIMEOUT_MS + TIMER_TOLERANCE_MS
    ),
    verdict(
      'the share holds while Redis is away',
      away.every((row) => row.decided_by_share > 0 && row.let_in <= row.share_allows)
    ),
    verdict(
      `the limit is shared again within ${MOST_SECONDS_TO_RETURN} s`,
      away.every((row) => row.seconds_to_return <= MOST_SECONDS_TO_RETURN)
    )
  ].every(Boolean)
}

async function startServer(
  redisPort: number,
  limits: object
): Promise<{ child: Child; port: number }> {
  const child = Child.start(
    'limited-child',
    [String(redisPort), JSON.stringify(limits)],
    SERVER_CORE
  )
  const { port } = await child.next<{ port: number }>()
  return { child, port }
}

async function figuresOf(child: Child): Promise<LimitedFigures> {
  const figures = child.next<LimitedFigures>()
  child.send('figures')
  return await figures
}

async function ownRedis(): Promise<RedisServer> {
  const redis = await startRedis()
  if (redis === undefined) throw new Error('redis-server is not installed')
  return redis
}
