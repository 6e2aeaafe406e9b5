import { once } from 'node:events'
import { createHook } from 'node:async_hooks'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { eventually, pluginProblems, promtoolCheck, skipOrFail } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import metrics from '@fastify-vitals/metrics'
import type { Finding } from '@fastify-vitals/metrics'
import type CircuitBreaker from 'opossum'
import t from 'tap'
import type { Test } from 'tap'
import { Value } from 'typebox/value'
import plugin, { BreakerOpenError, BreakerTimeoutError, ensureBreakers } from '../src/index.ts'
import type {
  Breaker,
  BreakerCall,
  BreakerOptions,
  CircuitBreakerOptions,
  Transition
} from '../src/index.ts'
import { mustCompile, mustCompileAsShown, mustCompileOnRoutes } from './types.ts'

const OPENS_AT_ONCE = { consecutiveFailures: 1, openMs: 60_000 }

// the timers of breakers let a process end, and here nothing else may be left to keep it
const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))

async function appWith(t: Test, options: CircuitBreakerOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(plugin, options)
  t.teardown(async () => {
    await app.close()
  })
  return app
}

const fails = async (): Promise<never> => {
  throw new Error('bad')
}

/** Opens a breaker by a failing call. */
async function broken(app: FastifyInstance, name: string = 'broken'): Promise<Breaker<[], never>> {
  const breaker = app.breaker(name, fails, OPENS_AT_ONCE)
  await breaker.fire().catch(() => {})
  return breaker
}

async function exposition(app: FastifyInstance): Promise<string> {
  return await text(app.vitals.scrape().body)
}

t.test(
  'it behaves as every plugin here does, and names what is wrong with an option',
  async (t) => {
    const bad = (defaults: object, message: RegExp): { options: object; message: RegExp } => ({
      options: { defaults },
      message
    })
    t.same(
      await pluginProblems<CircuitBreakerOptions>(plugin, {
        validOptions: { maxBreakers: 5, defaults: { timeoutMs: 500, windowMs: 1000 } },
        badOptions: [
          { options: { maxBreakers: 0 }, message: /"maxBreakers" must be an integer >= 1.*got 0/ },
          { options: { breakers: 1 }, message: /"breakers" is unknown; allowed: maxBreakers/ },
          { options: { logTransitions: 'yes' }, message: /"logTransitions" must be a boolean/ },
          bad({ timeoutMs: 0 }, /"defaults.timeoutMs" must be one of .*false, got 0/),
          bad({ timeoutMs: true }, /"defaults.timeoutMs".*got true/),
          bad({ timeoutMs: 2 ** 31 }, /"defaults.timeoutMs".*got 2147483648/),
          bad({ windowMs: -1 }, /"defaults.windowMs" must be a number > 0.*got -1/),
          bad({ windowBuckets: 1.5 }, /"defaults.windowBuckets" must be an integer.*got 1.5/),
          bad({ failureThresholdPercentage: 0 }, /> 0 and <= 100.*got 0/),
          bad({ failureThresholdPercentage: 101 }, /> 0 and <= 100.*got 101/),
          bad({ halfOpenSuccessRatio: 50 }, /"defaults.halfOpenSuccessRatio".*<= 1.*got 50/),
          bad({ jitterRatio: 1 }, /"defaults.jitterRatio".*<= 0.5.*got 1/),
          bad({ openMsMultiplier: 0.5 }, /"defaults.openMsMultiplier" must be a number >= 1/),
          bad({ minimumCalls: NaN }, /"defaults.minimumCalls".*got NaN/),
          bad(
            { openMs: 1000, maxOpenMs: 999 },
            /"maxOpenMs" must be at least openMs \(1000\), got 999/
          ),
          bad(
            { timeoutMs: 100, slowCallMs: 100 },
            /"slowCallMs" must be less than timeoutMs \(100\)/
          ),
          bad({ maxQueue: 1 }, /"maxQueue" must be given with maxConcurrent/),
          bad({ forced: 'ajar' }, /"defaults.forced" must be one of .*, got "ajar"/),
          bad({ isFailure: 'x' }, /"defaults.isFailure" must be a function, got "x"/),
          bad({ fallback: () => 1 }, /"defaults.fallback" is unknown/)
        ]
      }),
      []
    )
  }
)

t.test('options of a breaker are refused with its name, and leave no breaker behind', async (t) => {
  const app = await appWith(t)
  const make = (options: BreakerOptions<[], number>): unknown => app.breaker('b', () => 1, options)
  t.throws(() => make({ timeoutMs: -1 }), /breaker "b": option "timeoutMs" must be .*got -1/)
  t.throws(() => make({ staleMs: 5 }), /breaker "b": option "staleKey" must be given with staleMs/)
  t.throws(() => make({ maxOpenMs: 1 }), /breaker "b": option "maxOpenMs" must be at least openMs/)
  t.throws(() => make({ capacity: 1 } as never), /breaker "b": option "capacity" is unknown/)
  t.same(app.breakers.list(), [])
  make({})
  t.equal(app.breakers.list().length, 1)
})

t.test('a breaker takes the defaults of the plugin where nothing else was said', async (t) => {
  const app = await appWith(t, { defaults: { consecutiveFailures: 2, openMs: 50_000 } })
  const usual = app.breaker('usual', fails, { openMs: undefined } as never)
  const strict = app.breaker('strict', fails, { consecutiveFailures: 1 })
  await strict.fire().catch(() => {})
  await usual.fire().catch(() => {})
  t.same([usual.state, strict.state], ['closed', 'open'])
  await usual.fire().catch(() => {})
  t.equal(usual.state, 'open')
  t.ok(usual.retryAfterMs() > 40_000)
})

t.test('an action gets its arguments and its call, and what it returns is returned', async (t) => {
  const app = await appWith(t)
  const calls: BreakerCall[] = []
  const add = app.breaker('add', async (a: number, b: number, call: BreakerCall) => {
    calls.push(call)
    return a + b
  })
  t.equal(await add.fire(1, 2), 3)
  t.equal(await add.fire(3, 4), 7)
  t.not(calls[0], calls[1])
  const plain = app.breaker('plain', (a: number) => a, { timeoutMs: false })
  t.equal(await plain.fire(5), 5)
})

t.test('what an action throws is thrown on as it is, also when it throws at once', async (t) => {
  const app = await appWith(t)
  const error = new TypeError('mine')
  for (const timeoutMs of [1000, false] as const) {
    const late = app.breaker(`late ${timeoutMs}`, async () => await Promise.reject(error), {
      timeoutMs
    })
    const atOnce = app.breaker(
      `at once ${timeoutMs}`,
      (): number => {
        throw error
      },
      { timeoutMs }
    )
    t.equal(await late.fire().catch((thrown: unknown) => thrown), error)
    t.equal(await atOnce.fire().catch((thrown: unknown) => thrown), error)
  }
})

t.test(
  'a call that takes too long is given up: its signal aborts, its caller is told',
  async (t) => {
    const app = await appWith(t)
    const reasons: unknown[] = []
    const slow = app.breaker(
      'slow',
      async (call: BreakerCall) => {
        await once(call.signal, 'abort')
        reasons.push(call.signal.reason)
        throw call.signal.reason
      },
      { timeoutMs: 20 }
    )
    const error = await slow.fire().catch((thrown: unknown) => thrown)
    t.ok(error instanceof BreakerTimeoutError)
    t.match(error, {
      code: 'VITALS_BREAKER_TIMEOUT',
      name: 'BreakerTimeoutError',
      statusCode: 504,
      breaker: 'slow',
      timeoutMs: 20,
      message: /"slow" took longer than 20 ms/
    })
    await eventually(() => slow.figures.running === 0)
    t.equal(reasons[0], error)
    t.match(slow.figures.totals, { timeout: 1, failure: 0, success: 0 })
  }
)

t.test('a signal that is first read after the time-out is aborted already', async (t) => {
  const app = await appWith(t)
  let late: BreakerCall | undefined
  const slow = app.breaker(
    'slow',
    async (call: BreakerCall) => await wait(60, void (late = call)),
    {
      timeoutMs: 10
    }
  )
  await t.rejects(slow.fire(), { code: 'VITALS_BREAKER_TIMEOUT' })
  t.equal(late?.signal.aborted, true)
  t.match(late?.signal.reason, { code: 'VITALS_BREAKER_TIMEOUT' })
})

t.test('an open breaker does not call, and says when to come again', async (t) => {
  const app = await appWith(t)
  let called = 0
  const breaker = app.breaker(
    'b',
    async () => {
      called++
      throw new Error('bad')
    },
    { consecutiveFailures: 1, openMs: 5000, jitterRatio: 0 }
  )
  await t.rejects(breaker.fire(), { message: 'bad' })
  const error = await breaker.fire().catch((thrown: unknown) => thrown)
  t.ok(error instanceof BreakerOpenError)
  t.match(error, {
    code: 'VITALS_BREAKER_OPEN',
    name: 'BreakerOpenError',
    statusCode: 503,
    breaker: 'b',
    retryAfterSeconds: 5,
    headers: { 'retry-after': '5' }
  })
  t.equal(called, 1)
})

t.test('a full bulkhead refuses with an error of its own', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('b', async (ms: number) => await wait(ms), { maxConcurrent: 2 })
  const running = [breaker.fire(30), breaker.fire(30)]
  await t.rejects(breaker.fire(1), {
    code: 'VITALS_BULKHEAD_FULL',
    name: 'BulkheadFullError',
    statusCode: 503,
    retryAfterSeconds: 1,
    message: /"b" has 2 calls under way/
  })
  await Promise.all(running)
  await breaker.fire(1)
})

t.test('a fallback answers for failures, time-outs and refusals, with the arguments', async (t) => {
  const app = await appWith(t)
  const seen: unknown[] = []
  const breaker = app.breaker(
    'b',
    async (what: string) => (what === 'slow' ? await wait(200, 'late') : await fails()),
    {
      timeoutMs: 10,
      consecutiveFailures: 2,
      openMs: 60_000,
      fallback: async (error, what) => {
        seen.push((error as { code?: string }).code ?? (error as Error).message)
        return `instead of ${what}`
      }
    }
  )
  t.equal(await breaker.fire('fast'), 'instead of fast')
  t.equal(await breaker.fire('slow'), 'instead of slow')
  t.equal(await breaker.fire('third'), 'instead of third')
  t.same(seen, ['bad', 'VITALS_BREAKER_TIMEOUT', 'VITALS_BREAKER_OPEN'])
  t.match(breaker.figures.totals, { failure: 1, timeout: 1, rejected: 1, fallback: 3, success: 0 })
})

t.test(
  'what a fallback throws is thrown on; it is not asked for errors that are answers',
  async (t) => {
    const app = await appWith(t)
    const breaker = app.breaker(
      'b',
      async (message: string) => await Promise.reject(new Error(message)),
      {
        isFailure: (error) => (error as Error).message !== 'answer',
        fallback: () => {
          throw new Error('of the fallback')
        }
      }
    )
    await t.rejects(breaker.fire('bad'), { message: 'of the fallback' })
    await t.rejects(breaker.fire('answer'), { message: 'answer' })
    t.match(breaker.figures.totals, { failure: 1, ignored: 1, fallback: 0 })
  }
)

t.test('the last good value of the same key answers, and before any fallback', async (t) => {
  const app = await appWith(t)
  let isUp = true
  const prices = app.breaker(
    'prices',
    async (item: string) => {
      if (!isUp) throw new Error('down')
      return `price of ${item}`
    },
    {
      ...OPENS_AT_ONCE,
      staleMs: 60_000,
      staleKey: (item) => item,
      staleMaxEntries: 2,
      fallback: () => 'no price'
    }
  )
  for (const item of ['tea', 'rice', 'salt']) await prices.fire(item)
  isUp = false
  t.equal(await prices.fire('rice'), 'price of rice', 'when it fails')
  t.equal(await prices.fire('salt'), 'price of salt', 'when it is open')
  t.equal(await prices.fire('tea'), 'no price', 'it was written longest ago')
  t.equal(await prices.fire('bread'), 'no price', 'it never was')
  t.match(prices.figures.totals, { stale: 2, fallback: 2, failure: 1, rejected: 3 })
})

t.test('a value that is too old does not answer any more', async (t) => {
  const app = await appWith(t)
  let isUp = true
  const breaker = app.breaker('b', async () => (isUp ? 'good' : await fails()), {
    staleMs: 5,
    staleKey: () => 'k'
  })
  await breaker.fire()
  await wait(20)
  isUp = false
  await t.rejects(breaker.fire(), { message: 'bad' })
})

t.test('a staleKey that throws loses nothing but the stale value, and is counted', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('b', async (isUp: boolean) => (isUp ? 'good' : await fails()), {
    staleMs: 5000,
    staleKey: () => {
      throw new Error('of the key')
    }
  })
  t.equal(await breaker.fire(true), 'good')
  await t.rejects(breaker.fire(false), { message: 'bad' })
  t.match(await exposition(app), 'circuit_breaker_callback_errors_total{callback="staleKey"} 2')
})

t.test('a late value is not kept as the last good one', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('b', async (ms: number) => await wait(ms, ms), {
    timeoutMs: 20,
    staleMs: 60_000,
    staleKey: () => 'k'
  })
  await breaker.fire(1)
  t.equal(await breaker.fire(60), 1)
  await eventually(() => breaker.figures.running === 0)
  t.equal(await breaker.fire(60), 1)
})

t.test('names are given once, and there are so many at most', async (t) => {
  const app = await appWith(t, { maxBreakers: 2 })
  app.breaker('a', () => 1)
  t.throws(() => app.breaker('a', () => 1), { code: 'VITALS_BREAKER_EXISTS', message: /"a"/ })
  app.breaker('b', () => 1)
  t.throws(() => app.breaker('c', () => 1), {
    code: 'VITALS_BREAKERS_FULL',
    message: /already 2 circuit breakers.*raise maxBreakers/
  })
  t.ok(app.breakers.delete('a'))
  app.breaker('c', () => 1)
  t.same(
    app.breakers.list().map(({ name }) => name),
    ['b', 'c']
  )
})

t.test('a deleted breaker is gone from list, view and metrics, and stays gone', async (t) => {
  const app = await appWith(t)
  const breaker = await broken(app, 'gone')
  const heard: Transition[] = []
  app.breakers.on((transition) => heard.push(transition))
  t.equal(app.breakers.delete('gone'), true)
  t.equal(app.breakers.delete('gone'), false)
  t.equal(app.breakers.get('gone'), undefined)
  await t.rejects(breaker.fire(), { code: 'VITALS_BREAKER_SHUT_DOWN', statusCode: 503 })
  breaker.force('none')
  t.same(heard, [])
  t.notMatch(await exposition(app), 'gone')
  const view = app.vitals.views.get('breakers')!
  t.same(view.read(), { breakers: [] })
  app.breaker('gone', () => 1)
  t.match(view.read(), { breakers: [{ name: 'gone', state: 'closed', calls: { failure: 0 } }] })
  t.match(view.read(), { breakers: [{ last_transitions: { length: 0 } }] })
})

t.test('apps share nothing, scopes of one app share their breakers', async (t) => {
  const [one, other] = [await appWith(t), await appWith(t)]
  await broken(one, 'same')
  t.equal(other.breaker('same', fails, OPENS_AT_ONCE).state, 'closed')

  const app = Fastify()
  t.teardown(async () => {
    await app.close()
  })
  await app.register(metrics)
  const seen: string[][] = []
  for (const prefix of ['/a', '/b']) {
    await app.register(async (scope) => {
      await scope.register(plugin)
      scope.breaker(prefix, () => 1)
      seen.push(scope.breakers.list().map(({ name }) => name))
    })
  }
  t.same(seen, [['/a'], ['/a', '/b']])
})

t.test('it is registered once, and by ensureBreakers only where it is not there yet', async (t) => {
  const app = await appWith(t, { maxBreakers: 7 })
  await t.rejects(async () => await app.register(plugin), {
    code: 'VITALS_DECLARATION_INVALID',
    message: /already registered/
  })
  t.equal(await ensureBreakers(app), app.breakers)
  const bare = Fastify()
  t.equal(await ensureBreakers(bare), bare.breakers)
  await bare.close()
})

t.test('the types are what the README says', async (t) => {
  for (const compiled of [mustCompile, mustCompileOnRoutes, mustCompileAsShown]) {
    t.type(compiled, 'function')
  }
})

// ---- doors

interface BreakerJson {
  name: string
  state: string
  since: string
  retry_after_ms: number
  calls: Record<string, number>
  window_calls: number
  failure_rate_percent: number | null
  p95_ms: number | null
  last_transitions: { from: string; to: string; reason: string }[]
}

t.test('the view shows where each breaker stands and why, as its schema says', async (t) => {
  const app = await appWith(t)
  const view = app.vitals.views.get('breakers')!
  app.breaker('idle', () => 1)
  const half = app.breaker('half', async (isUp: boolean) => (isUp ? 1 : await fails()), {
    minimumCalls: 100
  })
  await half.fire(true)
  await half.fire(false).catch(() => {})
  await broken(app)
  const shown = view.read() as { breakers: BreakerJson[] }
  t.same([...Value.Errors(view.schema, shown)], [])
  t.same(
    shown.breakers.map(({ name, state }) => [name, state]),
    [
      ['idle', 'closed'],
      ['half', 'closed'],
      ['broken', 'open']
    ]
  )
  const [idle, second, third] = shown.breakers
  t.match(idle, { failure_rate_percent: null, p95_ms: null, last_transitions: [], window_calls: 0 })
  t.match(second, {
    window_calls: 2,
    failure_rate_percent: 50,
    calls: { success: 1, failure: 1, rejected: 0 },
    p95_ms: Number
  })
  t.match(third, {
    since: /^\d{4}-.*Z$/,
    last_transitions: [{ from: 'closed', to: 'open', reason: '1 calls in a row failed' }]
  })
  t.ok(third!.retry_after_ms > 0)
})

t.test('people may open, close and reset a breaker by its name', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('b', async () => 1)
  const order = (action: string, name: unknown): unknown =>
    app.vitals.actions.get(action)!.run({ name })
  t.same(order('breaker-open', 'b'), { name: 'b', state_before: 'closed', state: 'forced_open' })
  await t.rejects(breaker.fire(), { code: 'VITALS_BREAKER_OPEN' })
  t.same(order('breaker-close', 'b'), {
    name: 'b',
    state_before: 'forced_open',
    state: 'forced_closed'
  })
  t.equal(await breaker.fire(), 1)
  t.same(order('breaker-reset', 'b'), { name: 'b', state_before: 'forced_closed', state: 'closed' })
  for (const name of ['nope', 7, undefined, '__proto__']) {
    t.throws(() => order('breaker-open', name), {
      code: 'VITALS_BREAKER_UNKNOWN',
      message: /there are: "b"/
    })
  }
  t.throws(() => app.vitals.actions.get('breaker-open')!.run(), { code: 'VITALS_BREAKER_UNKNOWN' })
})

function findings(app: FastifyInstance): Finding[] {
  const window = app.vitals.history.window(3600)
  return [...app.vitals.detectors.get('breaker_open')!.inspect(window)]
}

t.test('the detector reports breakers that are open, with what made them', async (t) => {
  const app = await appWith(t)
  app.breaker('well', async () => 1)
  t.same(findings(app), [])
  const breaker = await broken(app)
  await breaker.fire().catch(() => {})
  t.match(findings(app), [
    {
      type: 'breaker_open',
      severity: 'high',
      cause: 'the circuit breaker "broken" is open: 1 calls in a row failed',
      evidence: { breaker: 'broken', state: 'open', totals: { failure: 1, rejected: 1 } }
    }
  ])
  breaker.force('open')
  t.match(findings(app), [
    { severity: 'medium', cause: /held open by order/, recommendations: [/breaker-reset/] }
  ])
  breaker.force('none')
  t.same(findings(app), [])
})

t.test('the detector reports a breaker that flaps, even when it is closed just now', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('flaps', async (isUp: boolean) => (isUp ? 1 : await fails()), {
    consecutiveFailures: 1,
    openMs: 1,
    jitterRatio: 0,
    halfOpenProbes: 1
  })
  for (let i = 0; i < 3; i++) {
    await breaker.fire(false).catch(() => {})
    await eventually(() => breaker.state === 'half_open')
    if (i === 0)
      t.match(findings(app), [{ severity: 'medium', cause: /tries whether calls succeed/ }])
    await breaker.fire(true)
  }
  t.equal(breaker.state, 'closed')
  t.match(findings(app), [{ cause: 'the circuit breaker "flaps" opened 3 times' }])
})

t.test('metrics tell state, calls, changes and durations of each breaker', async (t) => {
  const app = await appWith(t)
  const breaker = await broken(app, 'one')
  await breaker.fire().catch(() => {})
  const shown = await exposition(app)
  t.match(shown, 'circuit_breaker_state{name="one",state="open"} 1')
  for (const state of ['closed', 'half_open', 'forced_open', 'forced_closed', 'metrics_only']) {
    t.match(shown, `circuit_breaker_state{name="one",state="${state}"} 0`)
  }
  t.match(shown, 'circuit_breaker_calls_total{name="one",result="failure"} 1')
  t.match(shown, 'circuit_breaker_calls_total{name="one",result="rejected"} 1')
  t.match(shown, 'circuit_breaker_calls_total{name="one",result="success"} 0')
  t.match(shown, 'circuit_breaker_transitions_total{name="one",from="closed",to="open"} 1')
  t.match(shown, 'circuit_breaker_call_duration_seconds_count{name="one"} 1')
  const checked = promtoolCheck(shown)
  if (checked === undefined) skipOrFail(t, 'promtool is not installed')
  else t.equal(checked.code, 0, checked.output)
})

t.test('a breaker that starts forced says so from the start', async (t) => {
  const app = await appWith(t)
  app.breaker('b', () => 1, { forced: 'metrics_only' })
  t.match(await exposition(app), 'circuit_breaker_state{name="b",state="metrics_only"} 1')
})

t.test(
  'changes of state are told to listeners and to the log, unless nobody wants them',
  async (t) => {
    for (const logTransitions of [true, false]) {
      const lines: string[] = []
      const app = Fastify({
        logger: { stream: { write: (line: string) => void lines.push(line) } }
      })
      await app.register(plugin, { logTransitions })
      const heard: Transition[] = []
      const leave = app.breakers.on((transition) => heard.push(transition))
      app.breakers.on(() => {
        throw new Error('of a listener')
      })
      const breaker = await broken(app)
      leave()
      breaker.force('none')
      t.match(heard, [{ breaker: 'broken', from: 'closed', to: 'open' }])
      t.equal(heard.length, 1)
      const told = lines.filter((line) => line.includes('circuit breaker \\"broken\\" is now open'))
      t.equal(told.length, logTransitions ? 1 : 0)
      t.equal(lines.filter((line) => line.includes('a listener threw')).length, 1, 'once')
      await app.close()
    }
  }
)

t.test('the reset action starts the totals anew', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('b', async () => 1)
  await breaker.fire()
  app.vitals.actions.get('reset')!.run()
  t.equal(breaker.figures.totals.success, 0)
  await breaker.fire()
  t.equal(breaker.figures.totals.success, 1)
})

t.test('exporters of opossum hear its events, and their errors harm nobody', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('b', async (isUp: boolean) => (isUp ? 'good' : await fails()), {
    ...OPENS_AT_ONCE,
    fallback: () => 'instead'
  })
  const heard: string[] = []
  const events = ['fire', 'success', 'failure', 'reject', 'fallback', 'open', 'close']
  t.equal(await breaker.fire(true), 'good')
  for (const event of events) breaker.opossum.on(event, () => heard.push(event))
  await breaker.fire(true)
  await breaker.fire(false)
  await breaker.fire(true)
  breaker.force('none')
  t.same(heard, [
    'fire',
    'success',
    'fire',
    'failure',
    'open',
    'fallback',
    'reject',
    'fallback',
    'close'
  ])
})

// ---- what goes wrong in opossum itself: each line of our list of traps

t.test('trap: calls that the bulkhead refuses do not open the circuit', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('b', async () => await wait(20), {
    maxConcurrent: 1,
    minimumCalls: 1,
    consecutiveFailures: 1
  })
  const results = await Promise.allSettled(
    Array.from({ length: 10 }, async () => await breaker.fire())
  )
  t.equal(results.filter(({ status }) => status === 'rejected').length, 9)
  t.equal(breaker.state, 'closed')
  t.match(breaker.figures, { windowCalls: 1, windowFailures: 0, totals: { bulkhead_full: 9 } })
})

t.test('trap: work that goes on after its time-out still takes its place', async (t) => {
  const app = await appWith(t)
  let now = 0
  let most = 0
  const breaker = app.breaker(
    'b',
    async () => {
      most = Math.max(most, ++now)
      await wait(60)
      now--
    },
    { maxConcurrent: 1, timeoutMs: 5, minimumCalls: 1_000_000 }
  )
  for (let i = 0; i < 8; i++) {
    await breaker.fire().catch(() => {})
    await wait(10)
  }
  t.equal(most, 1)
})

t.test('trap: a synchronous action that returns undefined succeeds', async (t) => {
  const app = await appWith(t)
  for (const options of [{}, { timeoutMs: false }, { forced: 'closed' }] as const) {
    const breaker = app.breaker(JSON.stringify(options), () => undefined, options)
    t.equal(await breaker.fire(), undefined)
    t.match(breaker.figures.totals, { success: 1, failure: 0 })
  }
})

t.test('trap: a listener of success that throws leaves the call a success', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('b', async () => 'good', OPENS_AT_ONCE)
  breaker.opossum.on('success', () => {
    throw new Error('of the listener')
  })
  t.equal(await breaker.fire(), 'good')
  t.equal(breaker.state, 'closed')
  t.match(await exposition(app), 'circuit_breaker_callback_errors_total{callback="listener"} 1')
})

t.test('trap: a call that timed out has one duration', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('b', async () => await wait(40), { timeoutMs: 10 })
  await t.rejects(breaker.fire())
  await eventually(() => breaker.figures.running === 0)
  t.match(await exposition(app), 'circuit_breaker_call_duration_seconds_count{name="b"} 1')
})

t.test("trap: answers from the cache don't hide that all real calls fail", async (t) => {
  const app = await appWith(t)
  let isUp = true
  const breaker = app.breaker('b', async () => (isUp ? 'good' : await fails()), {
    minimumCalls: 20,
    staleMs: 60_000,
    staleKey: () => 'k'
  })
  await breaker.fire()
  isUp = false
  for (let i = 0; i < 30; i++) t.equal(await breaker.fire(), 'good')
  t.equal(breaker.state, 'open')
  t.match(breaker.figures.totals, { stale: 30, failure: 19, success: 1 })
})

t.test('trap: options are neither changed nor shared, and errors are not cached', async (t) => {
  const app = await appWith(t)
  const options = Object.freeze({ staleMs: 60_000, staleKey: () => 'k' })
  const one = app.breaker('one', async () => 'of one', options)
  const other = app.breaker('other', async () => await fails(), options)
  await one.fire()
  await t.rejects(other.fire(), { message: 'bad' })
  await t.rejects(other.fire(), { message: 'bad' })
  t.equal(other.figures.totals.failure, 2, 'the second call was made, too')
  t.not(
    (one.opossum as CircuitBreaker & { options: object }).options,
    (other.opossum as CircuitBreaker & { options: object }).options
  )
})

t.test('trap: a time-out aborts its own call only', async (t) => {
  const app = await appWith(t)
  const signals: AbortSignal[] = []
  const breaker = app.breaker(
    'b',
    async (ms: number, call: BreakerCall) => {
      signals.push(call.signal)
      await wait(ms)
    },
    { timeoutMs: 40 }
  )
  const slow = t.rejects(breaker.fire(100))
  await wait(25)
  const beside = breaker.fire(25)
  await slow
  await beside
  await breaker.fire(1)
  t.same(
    signals.map(({ aborted }) => aborted),
    [true, false, false]
  )
})

t.test('trap: no list of latencies grows with the calls', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('b', async () => 1)
  for (let i = 0; i < 1000; i++) await breaker.fire()
  const { stats, options } = breaker.opossum as CircuitBreaker & {
    options: CircuitBreaker.Options
  }
  t.same(stats.latencyTimes ?? [], [])
  t.match(options, { rollingPercentilesEnabled: false, enableSnapshots: false })
  t.equal(breaker.figures.totals.success, 1000)
})

t.test('trap: the first failure does not open it', async (t) => {
  const app = await appWith(t)
  const breaker = app.breaker('b', fails)
  for (let i = 0; i < 9; i++) await breaker.fire().catch(() => {})
  t.equal(breaker.state, 'closed')
  await breaker.fire().catch(() => {})
  t.equal(breaker.state, 'open')
})

/** Timers that are set while something runs. */
async function timersOf(work: () => unknown): Promise<number> {
  let timers = 0
  const hook = createHook({
    init(_id, type) {
      if (type === 'Timeout' || type === 'Interval') timers++
    }
  })
  hook.enable()
  await work()
  hook.disable()
  return timers
}

t.test(
  'trap: a hundred idle breakers have no timer, and open ones keep no process alive',
  async (t) => {
    const app = await appWith(t)
    const breakers: Breaker<[], never>[] = []
    const before = process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length
    const made = await timersOf(() => {
      for (let i = 0; i < 100; i++) breakers.push(app.breaker(`b${i}`, fails, OPENS_AT_ONCE))
    })
    t.equal(made, 0)
    t.ok(await timersOf(async () => await wait(1)), 'timers would have been seen')
    await Promise.allSettled(breakers.map(async (breaker) => await breaker.fire()))
    t.ok(breakers.every(({ state }) => state === 'open'))
    const active = process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length
    t.ok(active <= before, `${active}, before ${before}`)
  }
)

t.test('trap: nothing runs on after close, not even what has hung', async (t) => {
  const app = Fastify()
  await app.register(plugin)
  const hung = app.breaker('hung', async (call: BreakerCall) => await once(call.signal, 'abort'))
  const open = app.breaker('open', fails, { consecutiveFailures: 1, openMs: 1, jitterRatio: 0 })
  const answer = hung.fire().catch((error: unknown) => error)
  await open.fire().catch(() => {})
  const heard: string[] = []
  await app.close()
  open.on(({ to }) => heard.push(to))
  t.match(await answer, { code: 'VITALS_BREAKER_SHUT_DOWN' })
  await wait(20)
  t.same(heard, [])
  t.equal(hung.figures.running, 0)
  await t.rejects(open.fire(), { code: 'VITALS_BREAKER_SHUT_DOWN' })
})
