import { setTimeout as wait } from 'node:timers/promises'
import { eventually, served } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import plugin from '../src/index.ts'
import type { BreakerCall, BreakerControl, BreakerOptions, Transition } from '../src/index.ts'
import { FaultyUpstream, SLOW_MS } from './faulty-upstream.ts'
import type { Mood } from './faulty-upstream.ts'

const QUICK: BreakerOptions<[], string> = {
  timeoutMs: 500,
  minimumCalls: 5,
  openMs: 40,
  maxOpenMs: 80,
  halfOpenProbes: 2
}

/** For tests in which all clients have to ask before anything is over. */
const PATIENT: BreakerOptions<[], string> = { timeoutMs: 1000, jitterRatio: 0 }

interface Stage {
  readonly upstream: FaultyUpstream
  readonly breaker: BreakerControl
  readonly moves: Transition[]
  /** A client's request to our app, which asks the upstream. @returns the status of our answer */
  readonly ask: () => Promise<number>
}

/** A client, our app with a breaker, and an upstream: all real, over sockets. */
async function stage(t: Test, options: BreakerOptions<[], string> = {}): Promise<Stage> {
  const upstream = new FaultyUpstream()
  await upstream.start()
  const app = Fastify({ forceCloseConnections: true })
  await app.register(plugin, { logTransitions: false })
  const breaker = app.breaker(
    'upstream',
    async ({ signal }: BreakerCall) => {
      const response = await fetch(upstream.url, { signal })
      const body = await response.text()
      if (!response.ok) throw new Error(`the upstream answered ${response.status}`)
      return body
    },
    { ...QUICK, ...options }
  )
  app.get('/', async () => await breaker.fire())
  const { origin } = await served(app)
  t.teardown(async () => {
    await app.close()
    await upstream.stop()
  })
  const moves: Transition[] = []
  breaker.on((move) => moves.push(move))
  const ask = async (): Promise<number> => {
    const response = await fetch(origin)
    await response.arrayBuffer()
    return response.status
  }
  return { upstream, breaker, moves, ask }
}

/** Asks, some at a time, until the breaker is open. @returns all answers */
async function askUntilOpen({ breaker, ask }: Stage): Promise<number[]> {
  return await eventually(async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, ask))
    return breaker.state === 'open' && answers
  })
}

/** Asks now and then, as clients do, until the breaker is closed. */
async function askUntilClosed({ breaker, ask }: Stage): Promise<void> {
  await eventually(async () => {
    await ask()
    return breaker.state === 'closed'
  })
}

/** The whole story: it is well, it misbehaves, the breaker opens and stays so, it is well again. */
async function story(
  t: Test,
  played: Stage,
  faults: { begin: () => unknown; end: () => unknown; status: number }
): Promise<void> {
  const { upstream, breaker, moves, ask } = played
  t.equal(await ask(), 200)
  await faults.begin()
  const answers = await askUntilOpen(played)
  t.ok(
    answers.every((status) => status === faults.status || status === 503),
    `answers were ${answers.join()}`
  )
  await eventually(
    () => moves.filter(({ to }) => to === 'open').length >= 3 || ask().then(() => false)
  )
  t.notOk(
    moves.some(({ to }) => to === 'closed'),
    'it does not close while the upstream misbehaves'
  )
  await faults.end()
  await askUntilClosed(played)
  for (let i = 0; i < 10; i++) t.equal(await ask(), 200)
  t.equal(moves.at(-1)?.to, 'closed')
  await eventually(() => breaker.figures.running === 0 && upstream.busy === 0)
}

for (const [mood, status] of [
  ['fails', 500],
  ['hangs', 504],
  ['resets', 500],
  ['breaks_off', 500]
] as [Mood, number][]) {
  t.test(
    `an upstream that ${mood.replace('_', ' ')} is left alone, and found well again`,
    async (t) => {
      const played = await stage(t, mood === 'hangs' ? { timeoutMs: 150 } : {})
      await story(t, played, {
        begin: () => (played.upstream.mood = mood),
        end: () => (played.upstream.mood = 'well'),
        status
      })
    }
  )
}

t.test('an upstream that is too slow is left alone although it answers well', async (t) => {
  const played = await stage(t, { slowCallMs: SLOW_MS / 2 })
  await story(t, played, {
    begin: () => (played.upstream.mood = 'is_slow'),
    end: () => (played.upstream.mood = 'well'),
    status: 200
  })
  t.match(played.moves[0]?.reason, 'calls were slow')
})

t.test('an upstream that goes away and comes back on its port is found again', async (t) => {
  const played = await stage(t)
  await story(t, played, {
    begin: async () => await played.upstream.stop(),
    end: async () => await played.upstream.start(),
    status: 500
  })
})

t.test(
  'an upstream may misbehave in every way, one after another, and is found well each time',
  async (t) => {
    const played = await stage(t, { timeoutMs: 150 })
    for (const mood of ['hangs', 'fails', 'resets', 'breaks_off', 'is_slow'] as const) {
      played.upstream.mood = mood
      await askUntilOpen(played)
      played.upstream.mood = 'well'
      await askUntilClosed(played)
      t.equal(await played.ask(), 200, `after it ${mood}`)
    }
  }
)

t.test(
  'while it is open the upstream gets nothing, and then only probes, however many ask',
  async (t) => {
    const played = await stage(t, { openMs: 10_000, maxOpenMs: 10_000 })
    const { upstream, breaker, ask } = played
    upstream.mood = 'fails'
    await askUntilOpen(played)
    upstream.requests = 0
    const answers = await Promise.all(Array.from({ length: 100 }, ask))
    t.ok(answers.every((status) => status === 503))
    t.equal(upstream.requests, 0)
    t.ok(breaker.retryAfterMs() > 5000)
  }
)

t.test(
  'of many who ask at once when it is half-open, only the probes reach the upstream',
  async (t) => {
    const played = await stage(t, { ...PATIENT, openMs: 60, halfOpenProbes: 3 })
    const { upstream, breaker, ask } = played
    upstream.mood = 'fails'
    await askUntilOpen(played)
    await eventually(() => breaker.state === 'half_open')
    upstream.requests = 0
    upstream.mood = 'hangs'
    const asked = Promise.all(Array.from({ length: 50 }, ask))
    await eventually(() => upstream.requests === 3)
    const answers = await asked
    t.equal(answers.filter((status) => status === 503).length, 47)
    t.equal(answers.filter((status) => status === 504).length, 3)
    t.equal(upstream.requests, 3)
    t.equal(breaker.state, 'open')
  }
)

t.test('a time-out really ends the request at the upstream', async (t) => {
  const { upstream, breaker, ask } = await stage(t, { timeoutMs: 30, minimumCalls: 100 })
  upstream.mood = 'hangs'
  t.equal(await ask(), 504)
  await eventually(() => upstream.busy === 0)
  await eventually(() => breaker.figures.running === 0)
  t.equal(upstream.requests, 1)
})

t.test('the bulkhead holds at the upstream, too, even when calls time out', async (t) => {
  const { upstream, ask } = await stage(t, {
    timeoutMs: 30,
    maxConcurrent: 4,
    minimumCalls: 1_000_000
  })
  upstream.mood = 'hangs'
  for (let round = 0; round < 5; round++) {
    const answers = await Promise.all(Array.from({ length: 12 }, ask))
    t.ok(answers.every((status) => status === 503 || status === 504))
    t.ok(answers.includes(504), 'some get through')
    await eventually(() => upstream.busy === 0)
    await wait(5)
  }
  t.ok(upstream.mostBusy <= 4, `${upstream.mostBusy} were busy at once`)
})
