import { AsyncLocalStorage } from 'node:async_hooks'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { ensureVitals, resolveOptions } from '@fastify-vitals/metrics'
import { ManualClock, eventually, served } from '@fastify-vitals/testing'
import fc from 'fast-check'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { Value } from 'typebox/value'
import { DeadlineHeap } from '../src/work/deadline-heap.ts'
import { JobPool } from '../src/work/job-pool.ts'
import type { PoolLimits } from '../src/work/job-pool.ts'
import { addWork, workOptionsSchema } from '../src/work/index.ts'
import type { JobContext, ResolvedWorkOptions, WorkOptions, WorkResult } from '../src/work/index.ts'

/** Settles when it is told to. */
interface Handmade<Value> {
  readonly promise: Promise<Value>
  readonly resolve: (value: Value) => void
  readonly reject: (error: unknown) => void
}

function handmade<Value = void>(): Handmade<Value> {
  let resolve!: (value: Value) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<Value>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

const LIMITS: PoolLimits = { maxConcurrent: 1, maxQueue: 100, agingMs: 1000 }
const RANK = { critical: 0, high: 1, normal: 2, low: 3 } as const

/** A pool on a clock that is moved by hand, whose jobs end by hand. */
class Bench {
  readonly clock: ManualClock = new ManualClock()
  readonly pool: JobPool
  readonly begun: string[] = []
  readonly results: Record<string, WorkResult> = {}
  readonly signals: Record<string, AbortSignal> = {}
  readonly errors: Record<string, unknown> = {}
  readonly #ends = new Map<string, Handmade<void>>()
  atWorkMost = 0
  #atWork = 0

  constructor(limits: Partial<PoolLimits> = {}) {
    this.pool = new JobPool(
      { ...LIMITS, ...limits },
      {
        now: this.clock.now,
        meterOf: (name) => ({
          count: (result) => (this.results[name] = result),
          waited: () => {},
          ran: () => {}
        })
      }
    )
  }

  submit(name: string, rank: number, deadlineMs?: number, signal?: AbortSignal): void {
    const work = async (context: JobContext): Promise<void> => {
      this.begun.push(name)
      this.signals[name] = context.signal
      this.atWorkMost = Math.max(this.atWorkMost, ++this.#atWork)
      const end = handmade()
      this.#ends.set(name, end)
      await end.promise.finally(() => this.#atWork--)
    }
    this.pool.submit({ name, rank, work, deadlineMs, signal }).catch((error) => {
      this.errors[name] = error
    })
  }

  async end(name: string, error?: Error): Promise<void> {
    const end = this.#ends.get(name)!
    if (error === undefined) end.resolve()
    else end.reject(error)
    await nextTurn()
  }

  async advance(ms: number): Promise<void> {
    this.clock.advance(ms)
    this.pool.tick()
    await nextTurn()
  }
}

interface ModelJob {
  readonly name: string
  readonly rank: number
  readonly queuedMs: number
  readonly dueMs: number
  readonly order: number
}

/** What the pool should do, said as plainly as can be: sort all that wait, take the first. */
class Model {
  nowMs = 0
  waiting: ModelJob[] = []
  working: ModelJob[] = []
  readonly begun: string[] = []
  readonly results: Record<string, WorkResult> = {}
  readonly #limits: PoolLimits
  #order = 0

  constructor(limits: PoolLimits) {
    this.#limits = limits
  }

  submit(name: string, rank: number, deadlineMs: number | undefined): void {
    const order = this.#order++
    const dueMs = this.nowMs + (deadlineMs ?? Infinity)
    this.waiting.push({ name, rank, queuedMs: this.nowMs, dueMs, order })
    this.#fill()
    if (this.waiting.length > this.#limits.maxQueue) this.#tell(this.#sorted().pop()!, 'rejected')
  }

  end(name: string, result: WorkResult): void {
    const job = this.working.find((each) => each.name === name)!
    this.results[name] ??= result
    this.working = this.working.filter((each) => each !== job)
    this.#fill()
  }

  abort(name: string): void {
    const job = [...this.waiting, ...this.working].find((each) => each.name === name)
    if (job !== undefined) this.#tell(job, 'aborted')
  }

  advance(ms: number): void {
    this.nowMs += ms
    for (const job of [...this.waiting, ...this.working]) {
      if (job.dueMs <= this.nowMs) this.#tell(job, 'deadline')
    }
  }

  #tell(job: ModelJob, result: WorkResult): void {
    this.results[job.name] ??= result
    this.waiting = this.waiting.filter((each) => each !== job)
  }

  #fill(): void {
    while (this.working.length < this.#limits.maxConcurrent && this.waiting.length > 0) {
      const [job] = this.#sorted()
      this.waiting = this.waiting.filter((each) => each !== job)
      this.working.push(job!)
      this.begun.push(job!.name)
    }
  }

  #sorted(): ModelJob[] {
    const turn = (job: ModelJob): number => job.queuedMs + job.rank * this.#limits.agingMs
    return this.waiting.toSorted(
      (a, b) => turn(a) - turn(b) || a.rank - b.rank || a.order - b.order
    )
  }
}

type Step =
  | { readonly do: 'submit'; readonly rank: number; readonly deadlineMs: number | undefined }
  | { readonly do: 'end'; readonly which: number; readonly fails: boolean }
  | { readonly do: 'abort'; readonly which: number }
  | { readonly do: 'advance'; readonly ms: number }

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('submit' as const),
        rank: fc.integer({ min: 0, max: 3 }),
        deadlineMs: fc.option(fc.constantFrom(500, 1000, 3000), { nil: undefined })
      })
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('end' as const),
        which: fc.nat(),
        fails: fc.boolean()
      })
    },
    fc.record({ do: fc.constant('abort' as const), which: fc.nat() }),
    fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(0, 500, 1000) })
  ),
  { maxLength: 50, size: 'max' }
)

async function compare(limits: PoolLimits, script: readonly Step[]): Promise<void> {
  const bench = new Bench(limits)
  const model = new Model(limits)
  const controllers: AbortController[] = []
  for (const step of script) {
    if (step.do === 'submit') {
      const name = `job ${controllers.length}`
      controllers.push(new AbortController())
      model.submit(name, step.rank, step.deadlineMs)
      bench.submit(name, step.rank, step.deadlineMs, controllers.at(-1)!.signal)
      await nextTurn()
    } else if (step.do === 'end' && model.working.length > 0) {
      const { name } = model.working[step.which % model.working.length]!
      model.end(name, step.fails ? 'error' : 'success')
      await bench.end(name, step.fails ? new Error('as it should') : undefined)
    } else if (step.do === 'abort' && controllers.length > 0) {
      const which = step.which % controllers.length
      model.abort(`job ${which}`)
      controllers[which]!.abort()
    } else if (step.do === 'advance') {
      model.advance(step.ms)
      await bench.advance(step.ms)
    }
    const { running, queued } = bench.pool.figures
    const seen = { begun: bench.begun, results: bench.results, running, queued }
    const expected = {
      begun: model.begun,
      results: model.results,
      running: model.working.length,
      queued: model.waiting.length
    }
    if (!Value.Equal(seen, expected)) {
      throw new Error(`${JSON.stringify(seen)} is not ${JSON.stringify(expected)}`)
    }
  }
  await bench.pool.close(0)
}

t.test('a pool does with any jobs what the plain model does', async () => {
  const limits = fc.record({
    maxConcurrent: fc.integer({ min: 1, max: 3 }),
    maxQueue: fc.integer({ min: 0, max: 5 }),
    agingMs: fc.constantFrom(1, 500, 1000, 100_000)
  })
  await fc.assert(fc.asyncProperty(limits, steps, compare), { numRuns: 500 })
})

t.test('what is due comes in the order of its time, whatever was taken out before', async () => {
  const entries = fc.array(fc.record({ dueMs: fc.nat(50), isTakenOut: fc.boolean() }))
  fc.assert(
    fc.property(entries, (given) => {
      const heap = new DeadlineHeap()
      const items = given.map((entry) => ({ ...entry, heapIndex: -1 }))
      for (const item of items) heap.add(item)
      for (const item of items) if (item.isTakenOut) heap.remove(item)
      const order: number[] = []
      for (let item = heap.next; item !== undefined; item = heap.next) {
        order.push(item.dueMs)
        heap.remove(item)
      }
      const kept = items.filter(({ isTakenOut }) => !isTakenOut).map(({ dueMs }) => dueMs)
      return Value.Equal(
        order,
        kept.toSorted((a, b) => a - b)
      )
    }),
    { numRuns: 1000 }
  )
})

t.test('a low job has its turn, however many critical ones keep coming', async (t) => {
  const bench = new Bench({ agingMs: 1000 })
  bench.submit('first', RANK.critical)
  bench.submit('low', RANK.low)
  for (let i = 0; !bench.begun.includes('low') && i < 100; i++) {
    await bench.advance(100)
    bench.submit(`critical ${i}`, RANK.critical)
    await bench.end(bench.begun.at(-1)!)
  }
  t.equal(bench.clock.now(), 3100, 'three ranks behind: 3000 ms, and then it comes first')
})

t.test('a full queue drops whose turn comes last, and refuses who would be that', async (t) => {
  const bench = new Bench({ maxQueue: 2 })
  bench.submit('working', RANK.normal)
  bench.submit('old low', RANK.low)
  bench.submit('young low', RANK.low)
  bench.submit('another low', RANK.low)
  bench.submit('critical', RANK.critical)
  await nextTurn()
  t.match(bench.results, { 'another low': 'rejected', 'young low': 'rejected' })
  t.match(bench.errors['young low'], {
    code: 'VITALS_WORK_QUEUE_FULL',
    statusCode: 503,
    headers: { 'retry-after': '1' }
  })
  await bench.end('working')
  await bench.end('critical')
  t.strictSame(bench.begun, ['working', 'critical', 'old low'])
})

t.test('a job that is late keeps its place until it has really ended', async (t) => {
  const bench = new Bench()
  bench.submit('deaf', RANK.normal, 100)
  bench.submit('next', RANK.normal)
  await bench.advance(100)
  t.match(bench.errors['deaf'], { code: 'VITALS_WORK_DEADLINE', statusCode: 504 })
  t.equal(bench.signals['deaf']!.aborted, true)
  t.strictSame(bench.begun, ['deaf'])
  await bench.end('deaf')
  t.strictSame(bench.begun, ['deaf', 'next'])
  t.equal(bench.results['deaf'], 'deadline', 'counted once')
})

t.test('a job that is late in the queue never begins, and says when to come again', async (t) => {
  const bench = new Bench()
  bench.submit('slow', RANK.normal)
  await bench.advance(4000)
  await bench.end('slow')
  bench.submit('working', RANK.normal)
  bench.submit('waiting', RANK.critical, 100)
  bench.submit('waiting too', RANK.low)
  await bench.advance(100)
  t.match(bench.errors['waiting'], { code: 'VITALS_WORK_DEADLINE', statusCode: 503 })
  t.match(bench.errors['waiting'], { headers: { 'retry-after': '12' } }, '3 times 4 s')
  await bench.end('working')
  t.strictSame(bench.begun, ['slow', 'working', 'waiting too'])
})

t.test('an abort ends the wait and tells the job, with the reason that was given', async (t) => {
  const bench = new Bench()
  const [working, waiting, early] = [0, 1, 2].map(() => new AbortController())
  bench.submit('working', RANK.normal, undefined, working!.signal)
  bench.submit('waiting', RANK.normal, undefined, waiting!.signal)
  early!.abort('early')
  bench.submit('early', RANK.normal, undefined, early!.signal)
  waiting!.abort('changed my mind')
  working!.abort('so have I')
  await nextTurn()
  t.strictSame(bench.errors, {
    working: 'so have I',
    waiting: 'changed my mind',
    early: 'early'
  })
  t.equal(bench.signals['working']!.reason, 'so have I')
  t.strictSame(bench.pool.figures, { running: 1, queued: 0, maxConcurrent: 1, maxQueue: 100 })
  await bench.end('working')
  t.strictSame(bench.begun, ['working'])
})

t.test('ten thousand jobs: never more at work than allowed, each answered once', async (t) => {
  let [atWork, most, counted] = [0, 0, 0]
  const pool = new JobPool(
    { maxConcurrent: 8, maxQueue: 10_000, agingMs: 1000 },
    {
      now: () => performance.now(),
      meterOf: () => ({ count: () => counted++, waited: () => {}, ran: () => {} })
    }
  )
  const work = async (): Promise<void> => {
    most = Math.max(most, ++atWork)
    await nextTurn()
    atWork--
  }
  const jobs = Array.from({ length: 10_000 }, (_, i) =>
    pool.submit({ name: 'job', rank: i % 4, work })
  )
  await Promise.all(jobs)
  t.strictSame(
    { most, counted, ...pool.figures },
    {
      most: 8,
      counted: 10_000,
      running: 0,
      queued: 0,
      maxConcurrent: 8,
      maxQueue: 10_000
    }
  )
})

t.test('a job that begins may submit others without passing those that wait', async (t) => {
  const bench = new Bench()
  const order: string[] = []
  const job = (name: string, then?: () => void) => ({
    name,
    rank: RANK.normal,
    work: () => {
      order.push(name)
      then?.()
    }
  })
  await Promise.all([
    bench.pool.submit(job('a')),
    bench.pool.submit(job('b', () => void bench.pool.submit(job('d')))),
    bench.pool.submit(job('c'))
  ])
  await nextTurn()
  t.strictSame(order, ['a', 'b', 'c', 'd'])
})

t.test('closing drains, then aborts, then refuses', async (t) => {
  const bench = new Bench()
  bench.submit('drained', RANK.normal)
  bench.submit('hanging', RANK.normal)
  bench.submit('waiting', RANK.normal)
  const closed = bench.pool.close(30)
  await bench.end('drained')
  await closed
  bench.submit('too late', RANK.critical)
  await nextTurn()
  t.strictSame(bench.results, {
    drained: 'success',
    hanging: 'closed',
    waiting: 'closed',
    'too late': 'closed'
  })
  t.match(bench.errors['too late'], { code: 'VITALS_WORK_POOL_CLOSED', statusCode: 503 })
  t.equal(bench.signals['hanging']!.aborted, true)
})

async function appWith(t: Test, given: WorkOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  const vitals = await ensureVitals(app)
  const options = resolveOptions<ResolvedWorkOptions>('work', workOptionsSchema, given)
  addWork(app, vitals, options)
  t.teardown(async () => {
    await app.close()
  })
  return app
}

async function scraped(app: FastifyInstance): Promise<string[]> {
  const chunks = await app.vitals.scrape('text/plain').body.toArray()
  return Buffer.concat(chunks).toString().split('\n')
}

t.test('a request without a place is answered 503 with Retry-After', async (t) => {
  const app = await appWith(t, { maxConcurrent: 1, maxQueue: 0 })
  const busy = handmade()
  void app.work.submit('busy', 'low', () => busy.promise)
  app.get('/', async () => await app.work.submit('report', 'critical', () => 'done'))
  const { origin } = await served(app)
  const refused = await fetch(origin)
  t.equal(refused.status, 503)
  t.equal(refused.headers.get('retry-after'), '1')
  t.match(await refused.json(), { code: 'VITALS_WORK_QUEUE_FULL' })
  busy.resolve()
  await nextTurn()
  t.equal(await (await fetch(origin)).text(), 'done')
})

t.test('a job works in the context of who submitted it, however it came to its turn', async (t) => {
  const app = await appWith(t, { maxConcurrent: 1 })
  const context = new AsyncLocalStorage<string>()
  const seen = await Promise.all(
    ['a', 'b', 'c'].map((who) =>
      context.run(who, () =>
        app.work.submit('who', 'normal', async () => {
          await nextTurn()
          return context.getStore()
        })
      )
    )
  )
  t.strictSame(seen, ['a', 'b', 'c'])
})

t.test('what makes no sense is refused with what would', async (t) => {
  const app = await appWith(t)
  const nothing = (): void => {}
  await t.rejects(app.work.submit('job', 'urgent' as never, nothing), {
    message: /"priority" must be one of critical, high, normal, low, got "urgent"/
  })
  await t.rejects(app.work.submit('', 'low', nothing), { message: /"name"/ })
  await t.rejects(app.work.submit('job', 'low', 'no function' as never), { message: /"job"/ })
  await t.rejects(app.work.submit('job', 'low', nothing, { deadlineMs: -1 }), {
    message: /"deadlineMs" must be more than 0 milliseconds, got -1/
  })
  for (const options of [{ deadlineMs: NaN }, { deadlineMs: '5' }, { signal: {} }]) {
    await t.rejects(app.work.submit('job', 'low', nothing, options as object), {
      code: 'VITALS_OPTION_INVALID'
    })
  }
  await t.rejects(app.work.run('unknown'), { message: /"task" must be one of .*\(none\)/ })
  await t.rejects(appWith(t, { maxConcurrent: 0 }), { message: /"maxConcurrent" must be .*>= 1/ })
  const threads = (file: unknown): WorkOptions => ({
    threads: { tasks: { resize: { file: file as string } } }
  })
  for (const file of ['relative.js', 7, new URL('https://example.org/x.js'), '/no/such/file.js']) {
    await t.rejects(appWith(t, threads(file)), {
      code: 'VITALS_OPTION_INVALID',
      message: /work\.threads\.tasks\.resize\.file/
    })
  }
})

t.test('results and times are metrics by name, and names are bounded', async (t) => {
  const app = await appWith(t, { maxNames: 2, maxConcurrent: 1 })
  for (const name of ['a', 'a', 'b', 'c', 'd']) await app.work.submit(name, 'low', () => {})
  await t.rejects(
    app.work.submit('a', 'low', () => {
      throw new Error('as it should')
    })
  )
  const held = handmade()
  const holding = app.work.submit('b', 'low', () => held.promise)
  const waiting = app.work.submit('b', 'low', () => {})
  const lines = await scraped(app)
  const expected = [
    'work_jobs_total{name="a",result="success"} 2',
    'work_jobs_total{name="a",result="error"} 1',
    'work_jobs_total{name="_OTHER",result="success"} 2',
    'work_run_seconds_count{name="a"} 3',
    'work_queue_seconds_count{name="_OTHER"} 2',
    'work_running{pool="jobs"} 1',
    'work_queued{pool="jobs"} 1',
    'work_running{pool="tasks"} 0',
    'work_threads 0'
  ]
  for (const line of expected) t.ok(lines.includes(line), line)
  t.equal(lines.filter((line) => line.startsWith('work_run_seconds_count')).length, 3)
  t.equal(app.work.saturation, 1 / 1000)
  held.resolve()
  await Promise.all([holding, waiting])
})

t.test('the view shows pools and names as its schema says', async (t) => {
  const app = await appWith(t)
  await app.work.submit('a', 'low', () => {})
  const view = app.vitals.views.get('work')!
  const shown = view.read()
  t.ok(Value.Check(view.schema, shown))
  t.match(shown, {
    jobs: { running: 0, queued: 0, max_concurrent: 16, max_queue: 1000 },
    threads: 0,
    names: [{ name: 'a', results: { success: 1, rejected: 0 } }]
  })
})

t.test('jobs that were refused or late are a finding, by name', async (t) => {
  const app = await appWith(t, { maxConcurrent: 1, maxQueue: 1 })
  const inspect = (): unknown =>
    app.vitals.detectors.get('work_not_done')!.inspect(app.vitals.history.window(60))
  t.strictSame(inspect(), [])
  const held = handmade()
  const holding = app.work.submit('holding', 'low', () => held.promise)
  const nothing = (): void => {}
  let lateError: unknown
  app.work.submit('late', 'low', nothing, { deadlineMs: 1 }).catch((error) => (lateError = error))
  await t.rejects(app.work.submit('refused', 'low', nothing))
  // its timer alone keeps no process alive
  await eventually(() => lateError !== undefined)
  t.match(inspect(), [
    { severity: 'high', evidence: { name: 'late', rejected: 0, late: 1 } },
    { severity: 'high', evidence: { name: 'refused', rejected: 1, late: 0 } }
  ])
  held.resolve()
  await holding
})

t.test('apps share nothing, scopes beside each other share the pool', async (t) => {
  const [one, other] = [await appWith(t), await appWith(t)]
  await one.work.submit('a', 'low', () => {})
  t.match(other.vitals.views.get('work')!.read(), { names: [] })
  const app = Fastify()
  const vitals = await ensureVitals(app)
  const options = resolveOptions<ResolvedWorkOptions>('work', workOptionsSchema, {})
  const pools: unknown[] = []
  for (let i = 0; i < 2; i++) {
    await app.register(async (scope) => void pools.push(addWork(scope, vitals, options)))
  }
  t.equal(pools[0], pools[1])
  await app.close()
})

const TASKS = `
import { isMainThread, threadId } from 'node:worker_threads'
export default (payload) => ({ payload, isMainThread, threadId })
export const hold = (flag) => {
  Atomics.add(flag, 1, 1)
  Atomics.notify(flag, 1)
  Atomics.wait(flag, 0, 0)
  return threadId
}
export const fail = () => { throw new RangeError('as it should') }
export const exit = () => process.exit(7)
export const spin = (flag) => {
  Atomics.store(flag, 1, 1)
  for (;;);
}
export const reject = () => { setTimeout(() => { throw new Error('nobody waits') }); return new Promise(() => {}) }
export const hoard = () => { const all = []; for (;;) all.push(new Array(1e5).fill(Math.random())) }
export const length = (buffer) => buffer.byteLength
export const unclonable = () => () => {}
`
const EXPORTS = ['hold', 'fail', 'exit', 'spin', 'reject', 'hoard', 'length', 'unclonable']

async function threadedApp(t: Test, options: WorkOptions = {}): Promise<FastifyInstance> {
  const file = join(t.testdir(), 'tasks.mjs')
  writeFileSync(file, TASKS)
  const tasks = {
    echo: { file: pathToFileURL(file) },
    ...Object.fromEntries(EXPORTS.map((name) => [name, { file, name }]))
  }
  // what tap preloads doesn't work in threads
  const threads = { maxThreads: 2, execArgv: [], ...options.threads, tasks }
  return await appWith(t, { ...options, threads })
}

/** `[0]` ends those that hold, `[1]` counts those that began. */
function sharedFlag(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(8))
}

function release(flag: Int32Array): void {
  Atomics.store(flag, 0, 1)
  Atomics.notify(flag, 0)
}

t.test('tasks run on threads, of which none is there before the first task', async (t) => {
  const app = await threadedApp(t)
  t.equal(app.work.figures.threads, 0)
  t.match(await app.work.run('echo', { a: 1 }), { payload: { a: 1 }, isMainThread: false })
  t.equal(app.work.figures.threads, 1)
})

t.test(
  'the app answers while tasks block all their threads, which are never too many',
  async (t) => {
    const app = await threadedApp(t)
    app.get('/', async () => 'ok')
    const { origin } = await served(app)
    const flag = sharedFlag()
    const held = Array.from({ length: 5 }, () => app.work.run<number>('hold', flag))
    await eventually(() => Atomics.load(flag, 1) === 2)
    t.equal(await (await fetch(origin)).text(), 'ok')
    t.match(app.work.figures, { tasks: { running: 2, queued: 3, maxConcurrent: 2 }, threads: 2 })
    release(flag)
    t.equal(new Set(await Promise.all(held)).size, 2)
  }
)

t.test('an urgent task passes others in the queue', async (t) => {
  const app = await threadedApp(t, { threads: { maxThreads: 1 } })
  const flag = sharedFlag()
  const order: string[] = []
  const run = async (priority: 'low' | 'critical'): Promise<void> => {
    await app.work.run('echo', 1, { priority })
    order.push(priority)
  }
  const held = app.work.run('hold', flag)
  const all = [run('low'), run('critical'), held]
  release(flag)
  await Promise.all(all)
  t.strictSame(order, ['critical', 'low'])
})

t.test('a task that never ends is ended by its signal, and its thread with it', async (t) => {
  const app = await threadedApp(t, { threads: { maxThreads: 1 } })
  const flag = sharedFlag()
  const controller = new AbortController()
  const spinning = app.work.run('spin', flag, { signal: controller.signal })
  await eventually(() => Atomics.load(flag, 1) === 1)
  controller.abort(new Error('enough'))
  await t.rejects(spinning, { message: 'enough' })
  t.match(await app.work.run('echo', 'next'), { payload: 'next' })
  t.equal(app.work.figures.threads, 1)
})

t.test('a task that never ends is ended by its deadline', async (t) => {
  const app = await threadedApp(t, { threads: { maxThreads: 1 }, deadlineMs: 300 })
  await t.rejects(app.work.run('spin', sharedFlag()), { code: 'VITALS_WORK_DEADLINE' })
  t.match(await app.work.run('echo', 'next', { deadlineMs: 60_000 }), { payload: 'next' })
})

t.test('a task waiting for a thread can be aborted without harm to others', async (t) => {
  const app = await threadedApp(t, { threads: { maxThreads: 1 } })
  const flag = sharedFlag()
  const held = app.work.run('hold', flag)
  const controller = new AbortController()
  const waiting = app.work.run('echo', 1, { signal: controller.signal })
  controller.abort('never mind')
  t.equal(await waiting.catch((reason: unknown) => reason), 'never mind')
  release(flag)
  t.type(await held, 'number')
})

t.test('an abort before the thread is up leaves nothing behind', async (t) => {
  const app = await threadedApp(t)
  const controllers = Array.from({ length: 4 }, () => new AbortController())
  const all = controllers.map(({ signal }) => app.work.run('echo', 1, { signal }))
  for (const controller of controllers) controller.abort('at once')
  const results = await Promise.allSettled(all)
  t.ok(results.every(({ status }) => status === 'rejected'))
  t.match(await app.work.run('echo', 'after'), { payload: 'after' })
  t.match(app.work.figures, { tasks: { running: 0, queued: 0 } })
})

t.test(
  'a task that throws, dies, hoards memory or returns nonsense harms nobody else',
  async (t) => {
    const app = await threadedApp(t, { threads: { maxHeapMb: 32 } })
    await t.rejects(app.work.run('fail'), { name: 'RangeError', message: 'as it should' })
    await t.rejects(app.work.run('exit'), {
      code: 'VITALS_WORK_THREAD_ENDED',
      message: 'the thread for the task "exit" ended before it was done: worker exited with code: 7'
    })
    await t.rejects(app.work.run('reject'), { message: 'nobody waits' })
    await t.rejects(app.work.run('hoard'), { code: 'VITALS_WORK_THREAD_ENDED' })
    await t.rejects(app.work.run('unclonable'), {
      message: /could not be copied between threads/
    })
    await t.rejects(
      app.work.run('echo', () => {}),
      { name: 'DataCloneError' }
    )
    t.match(await app.work.run('echo', 'fine'), { payload: 'fine' })
    t.match(app.work.figures.tasks, { running: 0, queued: 0 })
  }
)

t.test('a thread that dies while it starts takes its task along, not the next one', async (t) => {
  for (const code of ['throw new Error("no start")', 'process.exit(3)']) {
    const preload = join(t.testdir(), 'preload.mjs')
    const app = await threadedApp(t, { threads: { execArgv: ['--import', preload] } })
    writeFileSync(preload, code)
    const results = await Promise.allSettled([app.work.run('echo'), app.work.run('echo')])
    const dead = { status: 'rejected', reason: { code: 'VITALS_WORK_THREAD_ENDED' } }
    t.match(results, [dead, dead])
    writeFileSync(preload, '')
    t.match(await app.work.run('echo', 'next'), { payload: 'next' })
  }
})

t.test('what is transferred is moved', async (t) => {
  const app = await threadedApp(t)
  const { buffer } = new Uint8Array(1000)
  t.equal(await app.work.run('length', buffer, { transfer: [buffer] }), 1000)
  t.equal(buffer.byteLength, 0)
})

t.test('a thread with nothing to do ends by itself', async (t) => {
  const app = await threadedApp(t, { threads: { idleTimeoutMs: 10 } })
  await app.work.run('echo')
  await eventually(() => app.work.figures.threads === 0)
})

/** As Node itself counts them, the thread of its module hooks included. */
function workersAlive(): number {
  const { workers } = process.report.getReport() as unknown as { workers: unknown[] }
  return workers.length
}

t.test('after close no thread is alive, not even one that hangs', async (t) => {
  const app = await threadedApp(t, { drainMs: 50 })
  const flag = sharedFlag()
  const before = workersAlive()
  await app.work.run('echo')
  t.equal(workersAlive(), before + 1)
  const results = Promise.allSettled([
    app.work.run('spin', flag),
    app.work.submit('hanging', 'low', () => new Promise(() => {}))
  ])
  await eventually(() => Atomics.load(flag, 1) === 1)
  await app.close()
  t.equal(app.work.figures.threads, 0)
  t.equal(workersAlive(), before)
  t.match(await results, [
    { reason: { code: 'VITALS_WORK_POOL_CLOSED' } },
    { reason: { code: 'VITALS_WORK_POOL_CLOSED' } }
  ])
  await t.rejects(app.work.run('echo'), { code: 'VITALS_WORK_POOL_CLOSED' })
  t.equal(app.work.figures.threads, 0)
})

t.test('what work needs is closed after it, also when it was registered after it', async (t) => {
  const app = await threadedApp(t)
  let isOpen = true
  await app.register(async (database) => {
    database.addHook('onClose', async () => void (isOpen = false))
  })
  await app.ready()
  const [flag, seen] = [sharedFlag(), [] as boolean[]]
  const job = app.work.submit('job', 'low', async () => {
    await app.work.run('hold', flag)
    await app.work.run('echo')
    seen.push(isOpen)
  })
  await eventually(() => Atomics.load(flag, 1) === 1)
  const closed = app.close()
  release(flag)
  await Promise.all([job, closed])
  t.strictSame([seen, isOpen], [[true], false])
})

t.test('closing while the first thread starts leaves none', async (t) => {
  const app = await threadedApp(t, { drainMs: 0 })
  const early = app.work.run('echo')
  await Promise.all([app.close(), t.rejects(early, { code: 'VITALS_WORK_POOL_CLOSED' })])
  await nextTurn()
  t.equal(app.work.figures.threads, 0)
})
