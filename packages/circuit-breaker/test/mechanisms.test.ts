import fc from 'fast-check'
import type CircuitBreaker from 'opossum'
import t from 'tap'
import { CallWindow } from '../src/call-window.ts'
import { Deadlines } from '../src/deadlines.ts'
import type { Timed } from '../src/deadlines.ts'
import { LastGood } from '../src/last-good.ts'
import { OpenTimes } from '../src/open-times.ts'
import { Queue } from '../src/queue.ts'
import { whyOpen } from '../src/thresholds.ts'
import { TransitionLog } from '../src/transition-log.ts'
import { Trial } from '../src/trial.ts'
import { BreakerOnTrial } from './breaker-on-trial.ts'
import { FakeTime, settled } from './fake-time.ts'

t.test('a window counts what a list of all calls would give, after any pauses', async () => {
  const call = fc.record({
    pauseMs: fc.oneof(fc.nat(30), fc.nat(400)),
    isFailure: fc.boolean(),
    isSlow: fc.boolean()
  })
  fc.assert(
    fc.property(
      fc.array(call),
      fc.integer({ min: 1, max: 12 }),
      fc.nat(50),
      (calls, buckets, at) => {
        const bucketMs = 10
        const window = new CallWindow(bucketMs * buckets, buckets, at)
        const all: { bucket: number; isFailure: boolean; isSlow: boolean }[] = []
        let nowMs = at
        for (const { pauseMs, isFailure, isSlow } of calls) {
          nowMs += pauseMs
          window.record(nowMs, isFailure, isSlow)
          const bucket = Math.floor((nowMs - at) / bucketMs)
          all.push({ bucket, isFailure, isSlow })
          const young = all.filter((each) => each.bucket > bucket - buckets)
          if (window.calls !== young.length) return false
          if (window.failures !== young.filter((each) => each.isFailure).length) return false
          if (window.slowCalls !== young.filter((each) => each.isSlow).length) return false
        }
        return true
      }
    )
  )
})

t.test('a window that nobody calls any more empties by itself', async (t) => {
  const window = new CallWindow(1000, 10, 0)
  window.record(50, true, true)
  window.advance(999)
  t.equal(window.calls, 1)
  window.advance(1000)
  t.same([window.calls, window.failures, window.slowCalls], [0, 0, 0])
})

t.test('a window that was reset is empty, and stays right', async (t) => {
  const window = new CallWindow(100, 10, 0)
  for (let ms = 0; ms < 100; ms += 5) window.record(ms, true, false)
  window.reset()
  t.equal(window.calls, 0)
  window.record(101, false, false)
  window.advance(250)
  t.same([window.calls, window.failures], [0, 0], 'nothing is taken off twice')
})

/** What a circuit thinks of some calls. */
function reasonOf(
  { calls, failures = 0, slow = 0, inARow = 0 }: Partial<Record<string, number>>,
  thresholds: Partial<Parameters<typeof whyOpen>[0]> = {}
): string | undefined {
  const window = new CallWindow(1000, 1, 0)
  for (let i = 0; i < calls!; i++) window.record(0, i < failures, i < slow)
  const judged = { failureThresholdPercentage: 50, slowCallThresholdPercentage: 50 }
  return whyOpen({ ...judged, minimumCalls: 10, ...thresholds }, window, inARow)
}

t.test('a share of failures opens at the threshold and not below', async (t) => {
  t.equal(reasonOf({ calls: 20, failures: 10 }), '10 of 20 calls failed')
  t.equal(reasonOf({ calls: 20, failures: 9 }), undefined)
  t.equal(
    reasonOf({ calls: 3, failures: 1 }, { minimumCalls: 1, failureThresholdPercentage: 34 }),
    undefined
  )
  t.ok(reasonOf({ calls: 3, failures: 1 }, { minimumCalls: 1, failureThresholdPercentage: 33 }))
})

t.test('shares are not judged before there are enough calls', async (t) => {
  t.equal(reasonOf({ calls: 9, failures: 9, slow: 9 }), undefined)
  t.ok(reasonOf({ calls: 10, failures: 9 }))
})

t.test('a share of slow calls opens as well', async (t) => {
  t.equal(reasonOf({ calls: 10, slow: 5 }), '5 of 10 calls were slow')
  t.equal(reasonOf({ calls: 10, slow: 4 }), undefined)
})

t.test(
  'failures in a row open however few calls there were, where that is asked for',
  async (t) => {
    t.equal(reasonOf({ calls: 3, failures: 3, inARow: 3 }), undefined)
    t.equal(
      reasonOf({ calls: 3, failures: 3, inARow: 3 }, { consecutiveFailures: 3 }),
      '3 calls in a row failed'
    )
  }
)

t.test('a threshold however small needs a failure', async (t) => {
  t.equal(reasonOf({ calls: 10 }, { failureThresholdPercentage: 1e-9 }), undefined)
})

t.test('probes are judged as soon as the end is certain, and never later', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 100 }),
      fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }),
      (probes, percent, outcomes) => {
        const trial = new Trial(probes, percent / 100)
        const enough = (good: number): boolean => good >= 1 && good * 100 >= percent * probes
        for (let done = 0, good = 0; done < probes;) {
          trial.begin()
          const verdict = trial.judge(outcomes[done]!)
          if (outcomes[done]!) good++
          done++
          const wanted = enough(good)
            ? 'passed'
            : enough(good + (probes - done))
              ? undefined
              : 'failed'
          if (verdict !== wanted) return false
          if (verdict !== undefined) return true
        }
        return false // all probes are done and there is no verdict
      }
    )
  )
})

t.test('a success ratio is not raised by its last binary digit', async (t) => {
  // 25 * 0.28 is a little more than 7 to a computer
  const trial = new Trial(25, 0.28)
  for (let i = 0; i < 6; i++) t.equal(trial.judge(true), undefined)
  t.equal(trial.judge(true), 'passed')
})

t.test('no more probes begin than are wanted; one that showed nothing is given back', async (t) => {
  const trial = new Trial(2, 1)
  trial.begin()
  trial.begin()
  t.notOk(trial.hasRoom)
  trial.giveBack()
  t.ok(trial.hasRoom)
})

t.test(
  'open times grow from failed trial to failed trial up to the longest, and begin anew',
  async (t) => {
    const options = { openMs: 100, openMsMultiplier: 3, maxOpenMs: 2000, jitterRatio: 0 }
    const times = new OpenTimes(options, () => 0.7)
    t.same(
      [times.next(), times.next(), times.next(), times.next(), times.next()],
      [100, 300, 900, 2000, 2000]
    )
    times.reset()
    t.equal(times.next(), 100)
  }
)

t.test('open times are spread evenly around the middle, and never pass the longest', async (t) => {
  const options = { openMs: 100, openMsMultiplier: 2, maxOpenMs: 200, jitterRatio: 0.5 }
  const first = (chance: number): number => new OpenTimes(options, () => chance).next()
  t.same([first(0), first(0.5), first(0.75)], [50, 100, 125])
  const times = new OpenTimes(options, () => 0.999)
  for (let i = 0; i < 2000; i++) if (times.next() > 200) t.fail('longer than the longest')
})

class Item implements Timed {
  readonly startMs: number
  previous: Timed | undefined = undefined
  next: Timed | undefined = undefined
  constructor(startMs: number) {
    this.startMs = startMs
  }
}

t.test('deadlines expire each item in time that was not taken out, with one timer', async (t) => {
  const step = fc.record({
    pauseMs: fc.nat(40),
    remove: fc.option(fc.nat(10), { nil: undefined })
  })
  const time = new FakeTime(t)
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const limitMs = 100
      const expired: [Item, number][] = []
      const deadlines = new Deadlines<Item>(limitMs, time.now, (item) => {
        expired.push([item, time.now()])
      })
      const alive: Item[] = []
      const kept: Item[] = []
      for (const { pauseMs, remove } of steps) {
        time.jump(pauseMs)
        for (const [item] of expired) if (alive.includes(item)) alive.splice(alive.indexOf(item), 1)
        if (remove !== undefined && remove < alive.length) {
          const [gone] = alive.splice(remove, 1)
          deadlines.remove(gone!)
          kept.splice(kept.indexOf(gone!), 1)
        }
        const item = new Item(time.now())
        deadlines.add(item)
        alive.push(item)
        kept.push(item)
        if (time.pending !== 1 || deadlines.size !== alive.length) return false
      }
      time.jump(2 * limitMs)
      const inTime = expired.every(([item, atMs]) => atMs === item.startMs + limitMs)
      const same = expired.every(([item], i) => item === kept[i]) && expired.length === kept.length
      return inTime && same && time.pending === 0 && deadlines.size === 0
    })
  )
})

t.test(
  'deadlines hand out the oldest, and when they close everything, and set no timer again',
  async (t) => {
    const time = new FakeTime(t)
    const deadlines = new Deadlines<Item>(100, time.now, () => t.fail('nothing is late'))
    const items = [0, 1, 2].map(() => new Item(time.now()))
    for (const item of items) deadlines.add(item)
    t.equal(deadlines.shift(), items[0])
    t.same(deadlines.close(), [items[1], items[2]])
    t.equal(time.pending, 0)
    t.equal(deadlines.shift(), undefined)
  }
)

t.test('what expires may begin something new', async (t) => {
  const time = new FakeTime(t)
  let left = 3
  const deadlines: Deadlines<Item> = new Deadlines(100, time.now, () => {
    if (--left > 0) deadlines.add(new Item(time.now()))
  })
  deadlines.add(new Item(time.now()))
  time.jump(100)
  t.equal(time.pending, 1, 'and still there is one timer')
  time.jump(200)
  t.equal(left, 0)
  t.equal(time.pending, 0)
})

t.test(
  'the last good values are those of a map that forgets what was written longest ago',
  async () => {
    const step = fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      pauseMs: fc.nat(40),
      isWritten: fc.boolean()
    })
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const kept = new LastGood<number>(100, 3)
        let written: { key: string; value: number; atMs: number }[] = []
        let nowMs = 0
        for (const [value, { key, pauseMs, isWritten }] of steps.entries()) {
          nowMs += pauseMs
          if (isWritten) {
            kept.keep(key, value, nowMs)
            written = [...written.filter((each) => each.key !== key), { key, value, atMs: nowMs }]
            written = written.slice(-3)
          } else {
            const known = written.find((each) => each.key === key)
            const isYoung = known !== undefined && nowMs - known.atMs <= 100
            if (kept.find(key, nowMs)?.value !== (isYoung ? known.value : undefined)) return false
            if (!isYoung) written = written.filter((each) => each !== known)
          }
          if (kept.size !== written.length) return false
        }
        return true
      })
    )
  }
)

t.test('a value that is written again is the youngest', async (t) => {
  const kept = new LastGood<number>(100, 2)
  for (const key of ['a', 'b', 'a', 'c']) kept.keep(key, 1, 0)
  t.same(
    ['a', 'b', 'c'].map((key) => kept.find(key, 0)?.value),
    [1, undefined, 1]
  )
})

t.test('a last good value may be undefined', async (t) => {
  const kept = new LastGood<undefined>(100, 1)
  kept.keep('a', undefined, 0)
  t.same(kept.find('a', 0)?.value, undefined)
  t.ok(kept.find('a', 100))
  t.equal(kept.find('a', 101), undefined)
})

t.test('a queue lets in whoever waited longest, and sends off who waited too long', async (t) => {
  const time = new FakeTime(t)
  const queue = new Queue(2, 100, time.now)
  const seen: string[] = []
  const wait = (name: string): void => queue.add((isLetIn) => seen.push(`${name} ${isLetIn}`))
  wait('first')
  t.ok(queue.hasRoom)
  time.jump(50)
  wait('second')
  t.notOk(queue.hasRoom)
  queue.letOneIn()
  time.jump(99)
  t.same(seen, ['first true'])
  time.jump(1)
  t.same(seen, ['first true', 'second false'])
  wait('third')
  queue.close()
  t.same(seen.at(-1), 'third false')
  t.equal(time.pending, 0)
  queue.letOneIn()
})

t.test(
  'the log of transitions keeps the last ones of each breaker, and forgets on demand',
  async (t) => {
    const log = new TransitionLog()
    for (let at = 0; at < 50; at++) {
      log.add({ breaker: 'a', from: 'closed', to: 'open', reason: 'r', at })
    }
    t.same(
      log.of('a').map(({ at }) => at),
      Array.from({ length: 20 }, (_, i) => 30 + i)
    )
    t.same(log.of('b'), [])
    log.forget('a')
    t.same(log.of('a'), [])
  }
)

// ---- a breaker as a whole, on a clock of the test's own

const QUICK = { minimumCalls: 4, openMs: 1000, jitterRatio: 0, halfOpenProbes: 2 }

t.test('a breaker opens, refuses, tries and closes as a simple model says', async (t) => {
  const step = fc.oneof(
    fc.constantFrom('+' as const, '-' as const),
    fc.constantFrom('+' as const, '-' as const),
    fc.nat(1500)
  )
  const tried = new BreakerOnTrial(t, {
    consecutiveFailures: 3,
    minimumCalls: 1_000_000,
    openMs: 1000,
    openMsMultiplier: 2,
    maxOpenMs: 4000,
    jitterRatio: 0,
    halfOpenProbes: 3,
    halfOpenSuccessRatio: 0.6,
    windowMs: 1_000_000
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      tried.breaker.force('open')
      tried.breaker.force('none')
      const model = { state: 'closed', inARow: 0, openings: 0, untilMs: 0, good: 0, bad: 0 }
      const open = (): void => {
        model.state = 'open'
        model.untilMs = tried.time.now() + Math.min(4000, 1000 * 2 ** model.openings++)
      }
      for (const each of steps) {
        if (typeof each === 'number') {
          await tried.time.advance(each)
          if (model.state === 'open' && tried.time.now() >= model.untilMs) {
            Object.assign(model, { state: 'half_open', good: 0, bad: 0 })
          }
        } else {
          const [answer] = await tried.calls(each)
          const wanted =
            model.state === 'open' ? 'VITALS_BREAKER_OPEN' : each === '+' ? 'good' : 'bad'
          if (answer !== wanted) return false
          if (model.state === 'closed') {
            model.inARow = each === '+' ? 0 : model.inARow + 1
            if (model.inARow === 3) open()
          } else if (model.state === 'half_open') {
            if (each === '+') model.good++
            else model.bad++
            if (model.bad === 2) open()
            if (model.good === 2) Object.assign(model, { state: 'closed', inARow: 0, openings: 0 })
          }
        }
        if (tried.state !== model.state) return false
        const waitMs = model.state === 'open' ? model.untilMs - tried.time.now() : 0
        if (tried.breaker.retryAfterMs() !== waitMs) return false
      }
      return true
    }),
    { numRuns: 100 }
  )
})

t.test('old failures leave the window, and do not open it later', async (t) => {
  const tried = new BreakerOnTrial(t, { ...QUICK, windowMs: 1000, windowBuckets: 10 })
  await tried.calls('---')
  await tried.time.advance(1000)
  await tried.calls('+++-')
  t.equal(tried.state, 'closed')
  t.equal(tried.breaker.figures.failureRatio, 0.25)
})

t.test('slow calls open it although they succeed, and a slow probe is no success', async (t) => {
  const tried = new BreakerOnTrial(t, { ...QUICK, slowCallMs: 100, halfOpenProbes: 1 })
  await tried.calls('++++', 99)
  t.equal(tried.state, 'closed')
  await tried.calls('++++', 100)
  t.equal(tried.state, 'open')
  t.match(tried.moves.at(-1)?.reason, '4 of 8 calls were slow')
  await tried.time.advance(1000)
  await tried.calls('+', 100)
  t.equal(tried.state, 'open')
  await tried.time.advance(2000)
  await tried.calls('+', 99)
  t.equal(tried.state, 'closed')
})

t.test('no more probes are under way at once than asked for', async (t) => {
  const tried = new BreakerOnTrial(t, { ...QUICK, halfOpenProbes: 2, halfOpenSuccessRatio: 1 })
  await tried.calls('----')
  await tried.time.advance(1000)
  const answers = [tried.begin(), tried.begin(), tried.begin()]
  t.equal(tried.held.length, 2)
  t.equal(await answers[2], 'VITALS_BREAKER_OPEN')
  t.equal(tried.breaker.retryAfterMs(), 1000, 'nobody knows when the probes end')
  tried.end('succeed')
  await settled()
  t.equal(tried.state, 'half_open', 'one good probe of two is not enough')
  tried.end('succeed')
  await settled()
  t.equal(tried.state, 'closed')
})

t.test(
  'each failed trial keeps it open longer, spread at random, until it has been well',
  async (t) => {
    const tried = new BreakerOnTrial(t, { ...QUICK, jitterRatio: 0.1, maxOpenMs: 3000 })
    tried.chance = 0
    await tried.calls('----')
    t.equal(tried.breaker.retryAfterMs(), 900)
    for (const [chance, openMs] of [
      [0.5, 2000],
      [0.75, 3000],
      [0.75, 3000]
    ] as const) {
      await tried.time.advance(tried.breaker.retryAfterMs())
      tried.chance = chance
      await tried.calls('--')
      t.equal(tried.breaker.retryAfterMs(), openMs)
    }
    await tried.time.advance(3000)
    await tried.calls('+')
    t.equal(tried.state, 'closed')
    tried.chance = 0.5
    await tried.calls('----')
    t.equal(tried.breaker.retryAfterMs(), 1000)
  }
)

t.test('what began before a change of state is not judged after it', async (t) => {
  const tried = new BreakerOnTrial(t, { ...QUICK, halfOpenProbes: 1 })
  const late = tried.begin('late')
  const [old] = tried.held.splice(0, 1)
  await tried.calls('----')
  await tried.time.advance(1000)
  t.equal(tried.state, 'half_open')
  old!.fail()
  t.equal(await late, 'bad')
  await settled()
  t.equal(tried.state, 'half_open', 'a failure of before is no probe')
  await tried.calls('+')
  t.equal(tried.state, 'closed')
})

t.test('forced open refuses all, for however long, until it is set back', async (t) => {
  const tried = new BreakerOnTrial(t, QUICK)
  await tried.calls('----')
  tried.breaker.force('open')
  t.equal(tried.state, 'forced_open')
  for (let days = 0; days < 100; days++) await tried.time.advance(86_400_000)
  t.same(await tried.calls('+'), ['VITALS_BREAKER_OPEN'])
  t.equal((tried.breaker.opossum as CircuitBreaker).opened, true, 'for who looks there')
  t.equal(tried.breaker.retryAfterMs(), QUICK.openMs)
  tried.breaker.force('none')
  t.same(await tried.calls('+'), ['good'])
  t.equal(tried.state, 'closed')
})

t.test('forced closed never opens, and time-out and bulkhead still hold', async (t) => {
  const tried = new BreakerOnTrial(t, {
    ...QUICK,
    forced: 'closed',
    maxConcurrent: 1,
    timeoutMs: 50
  })
  await tried.calls('----------')
  t.equal(tried.state, 'forced_closed')
  const late = tried.begin()
  t.equal(await tried.begin(), 'VITALS_BULKHEAD_FULL')
  await tried.time.advance(50)
  t.equal(await late, 'VITALS_BREAKER_TIMEOUT')
})

t.test("metrics-only measures, and stands in nobody's way", async (t) => {
  const tried = new BreakerOnTrial(t, {
    ...QUICK,
    forced: 'metrics_only',
    maxConcurrent: 1,
    timeoutMs: 50
  })
  const answers = [tried.begin(), tried.begin()]
  await tried.time.advance(5000)
  tried.end('succeed')
  tried.end('fail')
  t.same(await Promise.all(answers), ['good', 'bad'])
  await tried.calls('--------')
  t.equal(tried.state, 'metrics_only')
  t.match(tried.breaker.figures, { windowCalls: 10, windowFailures: 9, failureRatio: 0.9 })
  t.equal(tried.meter.seconds[0], 5)
})

t.test(
  'set back to judging it forgets its window, also when it was closed all the time',
  async (t) => {
    const tried = new BreakerOnTrial(t, { ...QUICK, consecutiveFailures: 4 })
    await tried.calls('---')
    tried.breaker.force('none')
    t.match(tried.breaker.figures, { windowCalls: 0, consecutiveFailures: 0 })
    await tried.calls('---')
    t.equal(tried.state, 'closed')
    t.same(tried.moves, [], 'it did not change its state')
  }
)

t.test('a mode that there is not is refused, and changes nothing', async (t) => {
  const tried = new BreakerOnTrial(t, QUICK)
  t.throws(() => tried.breaker.force('ajar' as never), {
    code: 'VITALS_BREAKER_MODE_UNKNOWN',
    message: /none, open, closed, metrics_only, not to "ajar"/
  })
  t.equal(tried.state, 'closed')
})

t.test('every change of state is told with its reason; a listener can leave', async (t) => {
  const tried = new BreakerOnTrial(t, { ...QUICK, halfOpenProbes: 1 })
  let heard = 0
  const leave = tried.breaker.on(() => heard++)
  await tried.calls('----')
  await tried.time.advance(1000)
  await tried.calls('-')
  leave()
  await tried.time.advance(2000)
  await tried.calls('+')
  t.same(
    tried.moves.map(({ breaker, from, to, reason }) => `${breaker} ${from} ${to}: ${reason}`),
    [
      'tried closed open: 4 of 4 calls failed',
      'tried open half_open: its open time is over',
      'tried half_open open: its probes failed',
      'tried open half_open: its open time is over',
      'tried half_open closed: its probes succeeded'
    ]
  )
  t.equal(heard, 3)
})

t.test('a listener that throws harms neither the breaker nor other listeners', async (t) => {
  const tried = new BreakerOnTrial(t, QUICK)
  let heard = 0
  tried.breaker.on(() => {
    throw new Error('of the listener')
  })
  tried.breaker.on(() => heard++)
  await tried.calls('----')
  t.equal(tried.state, 'open')
  t.equal(heard, 1)
  t.match(tried.callbackErrors, [['listener', { message: 'of the listener' }]])
})

t.test(
  'a place in the bulkhead is free when the work has ended, not when it timed out',
  async (t) => {
    const tried = new BreakerOnTrial(t, { ...QUICK, maxConcurrent: 1, timeoutMs: 50 })
    const late = tried.begin()
    await tried.time.advance(50)
    t.equal(await late, 'VITALS_BREAKER_TIMEOUT')
    t.equal(tried.breaker.figures.running, 1)
    t.equal(await tried.begin(), 'VITALS_BULKHEAD_FULL')
    tried.end('succeed')
    await settled()
    t.equal(tried.breaker.figures.running, 0)
    const next = tried.begin()
    tried.end('succeed')
    t.equal(await next, 'good')
  }
)

t.test('never more calls are under way than the bulkhead allows, whatever happens', async (t) => {
  const tried = new BreakerOnTrial(t, {
    ...QUICK,
    maxConcurrent: 3,
    maxQueue: 2,
    queueTimeoutMs: 70,
    timeoutMs: 50,
    openMs: 40
  })
  const step = fc.oneof(
    fc.constantFrom('begin' as const, 'begin' as const, 'succeed' as const, 'fail' as const),
    fc.nat(60)
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const answers: Promise<string>[] = []
      let isBounded = true
      for (const each of [...steps, 200]) {
        if (typeof each === 'number') await tried.time.advance(each)
        else if (each === 'begin') answers.push(tried.begin())
        else if (tried.held.length > 0) tried.end(each)
        await settled()
        const { running, queued } = tried.breaker.figures
        isBounded &&= running === tried.held.length && running <= 3 && queued <= 2
      }
      while (tried.held.length > 0) {
        tried.end('succeed')
        await tried.time.advance(100)
      }
      await Promise.all(answers)
      const { running, queued } = tried.breaker.figures
      return isBounded && running === 0 && queued === 0
    }),
    { numRuns: 60 }
  )
})

t.test('a call waits for the bulkhead, if it may, and not for ever', async (t) => {
  const tried = new BreakerOnTrial(t, { maxConcurrent: 1, maxQueue: 2, queueTimeoutMs: 100 })
  const answers = ['a', 'b', 'c', 'd'].map((key) => tried.begin(key))
  t.equal(await answers[3], 'VITALS_BULKHEAD_FULL')
  t.equal(tried.breaker.figures.queued, 2)
  tried.end('succeed')
  await settled()
  t.same(
    tried.held.map(({ key }) => key),
    ['b'],
    'whoever waited longest'
  )
  await tried.time.advance(100)
  t.equal(await answers[2], 'VITALS_BULKHEAD_FULL')
  tried.end('succeed')
  t.equal(await answers[1], 'good')
})

t.test('when it opens, those who wait for the bulkhead are all refused at once', async (t) => {
  const tried = new BreakerOnTrial(t, {
    ...QUICK,
    consecutiveFailures: 1,
    maxConcurrent: 1,
    maxQueue: 3,
    queueTimeoutMs: 60_000
  })
  const answers = ['a', 'b', 'c', 'd'].map((key) => tried.begin(key))
  tried.end('fail')
  t.same(await Promise.all(answers), ['bad', ...Array<string>(3).fill('VITALS_BREAKER_OPEN')])
  t.equal(tried.breaker.figures.queued, 0)
})

t.test('a waiting call has its whole time-out from when it is let in', async (t) => {
  const tried = new BreakerOnTrial(t, { maxConcurrent: 1, maxQueue: 1, timeoutMs: 100 })
  const answers = [tried.begin(), tried.begin()]
  await tried.time.advance(90)
  tried.end('succeed')
  await settled()
  await tried.time.advance(90)
  tried.end('succeed')
  t.same(await Promise.all(answers), ['good', 'good'])
})

t.test('all calls share one timer, and none is set while nothing is under way', async (t) => {
  const tried = new BreakerOnTrial(t, { timeoutMs: 100 })
  const answers = Array.from({ length: 50 }, () => tried.begin())
  t.equal(tried.time.pending, 1)
  while (tried.held.length > 0) tried.end('succeed')
  await Promise.all(answers)
  await tried.time.advance(100)
  t.equal(tried.time.pending, 0)
  t.equal(tried.meter.counts.timeout, 0)
})

t.test('a probe that hangs without a time-out counts as failed after the open time', async (t) => {
  const tried = new BreakerOnTrial(t, { ...QUICK, timeoutMs: false, halfOpenProbes: 1 })
  await tried.calls('----')
  await tried.time.advance(1000)
  const hung = tried.begin()
  t.equal(await tried.begin(), 'VITALS_BREAKER_OPEN')
  await tried.time.advance(1000)
  t.equal(tried.state, 'open')
  await tried.time.advance(2000)
  t.equal(tried.state, 'half_open')
  tried.end('succeed')
  t.equal(await hung, 'good', 'its caller waits on')
  t.equal(tried.state, 'half_open', 'and it is no probe any more')
  await tried.calls('+')
  t.equal(tried.state, 'closed')
})

t.test('a probe that was given up counts once, however it ends', async (t) => {
  const tried = new BreakerOnTrial(t, { ...QUICK, timeoutMs: false, halfOpenProbes: 2 })
  await tried.calls('----')
  await tried.time.advance(1000)
  void tried.begin()
  await tried.time.advance(1000)
  t.equal(tried.state, 'half_open', 'one of two probes may fail')
  tried.end('succeed')
  await settled()
  t.equal(tried.state, 'half_open')
  await tried.calls('+')
  t.equal(tried.state, 'closed')
})

t.test('one who listens to the circuit does not change when it closes', async (t) => {
  const tried = new BreakerOnTrial(t, { ...QUICK, halfOpenProbes: 2, halfOpenSuccessRatio: 1 })
  tried.breaker.opossum.on('success', () => {})
  await tried.calls('----')
  await tried.time.advance(1000)
  await tried.calls('+')
  t.equal(tried.state, 'half_open')
  await tried.calls('+')
  t.equal(tried.state, 'closed')
})

t.test(
  'errors that are answers count as such, and errors that tell nothing are no probes',
  async (t) => {
    const isFailure = (error: unknown): boolean | 'neither' =>
      ({ bad: true, answer: false, gone: 'neither' as const })[(error as Error).message] ?? true
    const tried = new BreakerOnTrial(t, { ...QUICK, halfOpenProbes: 1, isFailure })
    const failWith = async (message: string): Promise<string> => {
      const answer = tried.begin()
      tried.held.splice(0, 1)[0]!.fail(new Error(message))
      return await answer
    }
    for (let i = 0; i < 10; i++) t.equal(await failWith('answer'), 'answer')
    for (let i = 0; i < 10; i++) t.equal(await failWith('gone'), 'gone')
    t.match(tried.breaker.figures, { windowCalls: 10, windowFailures: 0 })
    t.equal(tried.meter.counts.ignored, 20)
    for (let i = 0; i < 10; i++) await failWith('bad')
    t.equal(tried.state, 'open')
    await tried.time.advance(1000)
    for (let i = 0; i < 3; i++) await failWith('gone')
    t.equal(tried.state, 'half_open')
    await failWith('answer')
    t.equal(tried.state, 'closed')
  }
)

t.test('an isFailure that throws means failure, and is told of', async (t) => {
  const tried = new BreakerOnTrial(t, {
    ...QUICK,
    isFailure() {
      throw new Error('of isFailure')
    }
  })
  t.same(await tried.calls('----'), ['bad', 'bad', 'bad', 'bad'])
  t.equal(tried.state, 'open')
  t.match(tried.callbackErrors[0], ['isFailure', { message: 'of isFailure' }])
})

t.test(
  'shut down it aborts what has a time-out, refuses the rest, and leaves no timer',
  async (t) => {
    const tried = new BreakerOnTrial(t, {
      ...QUICK,
      maxConcurrent: 1,
      maxQueue: 1,
      timeoutMs: 60_000
    })
    await tried.calls('---')
    const answers = [tried.begin(), tried.begin()]
    const { signal } = tried.held[0]!.call
    tried.breaker.shutDown()
    const code = 'VITALS_BREAKER_SHUT_DOWN'
    t.same(await Promise.all(answers), [code, code])
    t.match(signal.reason, { code })
    t.equal(await tried.begin(), code)
    tried.end('fail')
    await settled()
    t.equal(tried.time.pending, 0)
  }
)
