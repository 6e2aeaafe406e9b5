import { ManualClock } from '@fastify-vitals/testing'
import fc from 'fast-check'
import t from 'tap'
import { Admission } from '../src/admission.ts'
import type { AdmissionOptions } from '../src/admission.ts'
import { Entrant } from '../src/entrant.ts'
import type { Refusal } from '../src/entrant.ts'
import { GradientLimit } from '../src/gradient-limit.ts'
import { Guards } from '../src/guards.ts'
import { Partition } from '../src/partition.ts'
import { Patience } from '../src/patience.ts'
import { NORMAL, PRIORITIES, rankOf } from '../src/priority.ts'
import type { Priority } from '../src/priority.ts'
import { Saturation } from '../src/saturation.ts'
import { Turn } from '../src/turn.ts'

/** A door with a clock that stands still, and turns that come when the test says so. */
class Door {
  readonly clock = new ManualClock()
  readonly log: string[] = []
  /** Whether a connection was accepted at every look. */
  hasNews = false
  readonly partitions: Partition[]
  readonly admission: Admission
  #soon: (() => void) | undefined
  #later: { callback: () => void; atMs: number } | undefined

  constructor(
    limit: number,
    options: Partial<AdmissionOptions> = {},
    shares: Readonly<Record<string, number>> = { rest: 1 }
  ) {
    this.partitions = Object.entries(shares).map(([name, share]) => new Partition(name, share))
    this.admission = new Admission(
      {
        maxQueueLength: 10,
        maxWaitMs: 100,
        minWaitMs: 5,
        standingAfterMs: 100,
        turnMs: 2,
        longLivedMs: 10_000,
        ...options
      },
      {
        limit: fixed(limit),
        partitions: this.partitions,
        now: this.clock.now,
        hasNews: () => this.hasNews,
        soon: (callback) => (this.#soon = callback),
        later: (callback, ms) => (this.#later = { callback, atMs: this.clock.now() + ms })
      }
    )
  }

  /** Somebody asks to be let in. */
  ask(name: string, priority: Priority = 'normal', at: number = 0, workMs: number = 0): Guest {
    const guest = new Guest(name, priority, this.partitions[at]!, this, workMs)
    if (this.admission.enter(guest)) this.log.push(`${name} in`)
    else if (!this.admission.wait(guest)) guest.refuse('full')
    return guest
  }

  leave(guest: Guest): void {
    this.admission.leave(guest, false, this.clock.now())
  }

  /** The sockets were looked at. */
  turn(): void {
    const callback = this.#soon
    this.#soon = undefined
    callback?.()
  }

  /** Time passes, and timers come when they are due. */
  pass(ms: number): void {
    const untilMs = this.clock.now() + ms
    while (this.#later !== undefined && this.#later.atMs <= untilMs) {
      const { callback, atMs } = this.#later
      this.#later = undefined
      this.clock.advance(Math.max(0, atMs - this.clock.now()))
      callback()
    }
    this.clock.advance(Math.max(0, untilMs - this.clock.now()))
  }

  /** @returns what happened since the last time it was asked */
  news(): string[] {
    return this.log.splice(0)
  }
}

class Guest extends Entrant {
  readonly name: string
  isAnswering = false
  readonly #door: Door
  readonly #workMs: number

  constructor(name: string, priority: Priority, partition: Partition, door: Door, workMs: number) {
    super(rankOf(priority)!, partition, door.clock.now())
    this.name = name
    this.#door = door
    this.#workMs = workMs
  }

  override proceed(): void {
    this.#door.log.push(`${this.name} in`)
    this.#door.clock.advance(this.#workMs)
  }

  override refuse(reason: Refusal): void {
    this.#door.log.push(`${this.name} ${reason}`)
  }
}

function fixed(limit: number): GradientLimit {
  return new GradientLimit(
    {
      minLimit: limit,
      maxLimit: limit,
      initialLimit: limit,
      tolerance: 1.3,
      windowMs: 100,
      minSamples: 20,
      probeIntervalMs: 30_000
    },
    0
  )
}

t.test('below the limit everybody gets in at once', (t) => {
  const door = new Door(2)
  door.ask('a')
  door.ask('b')
  t.same(door.news(), ['a in', 'b in'])
  t.equal(door.admission.inFlight, 2)
  t.end()
})

t.test('at the limit one waits until another leaves', (t) => {
  const door = new Door(1)
  const a = door.ask('a')
  door.ask('b')
  door.turn()
  t.same(door.news(), ['a in'])
  door.leave(a)
  door.turn()
  t.same(door.news(), ['b in'])
  t.match(door.admission, { inFlight: 1, waiting: 0 })
  t.end()
})

t.test('the most important goes first, and of equals who came first', (t) => {
  const door = new Door(1)
  let inside = door.ask('first')
  const guests = new Map(
    (['low', 'normal', 'critical', 'high', 'normal'] as const).map((priority, i) => [
      `${priority}${i}`,
      door.ask(`${priority}${i}`, priority)
    ])
  )
  door.news()
  const order: string[] = []
  for (let i = 0; i < guests.size; i++) {
    door.leave(inside)
    door.turn()
    const [came] = door.news()
    order.push(came!)
    inside = guests.get(came!.split(' ')[0]!)!
  }
  t.same(order, ['critical2 in', 'high3 in', 'normal1 in', 'normal4 in', 'low0 in'])
  t.end()
})

t.test('a full queue turns away who is less important than those in it', (t) => {
  const door = new Door(1, { maxQueueLength: 2 })
  door.ask('inside')
  door.ask('normal', 'normal')
  door.ask('low', 'low')
  door.news()
  door.ask('high', 'high')
  t.same(door.news(), ['low full'], 'the least important made place')
  door.ask('low2', 'low')
  t.same(door.news(), ['low2 full'])
  door.ask('normal2', 'normal')
  t.same(door.news(), ['normal2 full'], 'of equals who came first keeps its place')
  t.equal(door.admission.waiting, 2)
  t.end()
})

t.test('with no queue, whoever finds no room is turned away at once', (t) => {
  const door = new Door(1, { maxQueueLength: 0 })
  door.ask('a')
  door.ask('b', 'critical')
  t.same(door.news(), ['a in', 'b full'])
  t.end()
})

t.test('who waits too long is turned away and never let in late', (t) => {
  const door = new Door(1)
  const a = door.ask('a')
  door.ask('b')
  door.pass(99)
  t.same(door.news(), ['a in'])
  door.clock.advance(2)
  door.leave(a)
  door.turn()
  t.same(door.news(), ['b late'], 'there is room now, but it comes too late')
  door.ask('c')
  t.same(door.news(), ['c in'])
  door.ask('d')
  door.pass(126)
  t.same(door.news(), ['d late'], 'also while there is no room: a timer tells')
  t.equal(door.admission.waiting, 0)
  t.end()
})

t.test('who goes away while waiting leaves the queue', (t) => {
  const door = new Door(1)
  const a = door.ask('a')
  const b = door.ask('b')
  door.ask('c')
  door.admission.giveUp(b)
  t.equal(door.admission.waiting, 1)
  door.leave(a)
  door.turn()
  t.same(door.news(), ['a in', 'c in'])
  t.end()
})

t.test('a queue that stands is served newest first, and nobody waits in it for long', (t) => {
  const door = new Door(1)
  const guests = [door.ask('first')]
  for (let i = 0; i < 200; i++) {
    guests.push(door.ask(`old${i}`), door.ask(`new${i}`))
    door.pass(4)
    door.leave(guests.find(({ isInside }) => isInside)!)
    door.turn()
  }
  t.ok(door.admission.patience.isStanding)
  const news = door.news()
  t.ok(news.includes('new199 in'), 'the newest')
  t.ok(news.includes('old197 late'), 'soon turned away')
  t.ok(door.admission.waiting <= 4, `${door.admission.waiting} wait`)
  t.end()
})

t.test('handlers that block get few at a time, so that newcomers are seen in between', (t) => {
  const door = new Door(100)
  const blocks = (name: string, priority: Priority = 'normal'): void => {
    const guest = door.ask(name, priority, 0, 2)
    if (!guest.isInside) return
    door.clock.advance(2)
    door.admission.handled()
    door.leave(guest)
  }
  for (const name of ['a', 'b', 'c', 'd']) blocks(name)
  t.same(door.news(), ['a in'], 'after two milliseconds the sockets are looked at')
  blocks('important', 'critical')
  door.turn()
  t.same(door.news(), ['important in'], 'so it is seen in time')
  door.turn()
  t.same(door.news(), ['b in'])
  t.end()
})

t.test('while new connections come, the sockets are looked at again, but not for ever', (t) => {
  const door = new Door(1, { turnMs: 2 })
  const first = door.ask('first')
  const a = door.ask('a')
  door.ask('b')
  door.leave(first)
  door.turn()
  t.same(door.news(), ['first in', 'a in'], 'handlers have not run just now')
  door.hasNews = true
  door.ask('c', 'critical')
  door.leave(a)
  door.turn()
  t.same(door.news(), [], 'others may come yet')
  door.clock.advance(2)
  door.turn()
  t.same(door.news(), ['c in'])
  t.equal(door.admission.waiting, 1)
  t.end()
})

t.test('handlers that cost less than a refusal are not held back', (t) => {
  const door = new Door(100)
  for (let i = 0; i < 1000; i++) {
    const guest = door.ask('x')
    door.clock.advance(0.02)
    door.leave(guest)
  }
  t.ok(door.news().every((each) => each === 'x in'))
  t.end()
})

t.test('a partition has its share also when others fill the limit, and lends it when idle', (t) => {
  const door = new Door(10, {}, { checkout: 0.3, rest: 0.7 })
  for (let i = 0; i < 12; i++) door.ask(`r${i}`, 'normal', 1)
  t.equal(door.news().length, 10, 'others borrow all of it')
  for (let i = 0; i < 4; i++) door.ask(`c${i}`, 'low', 0)
  t.same(door.news(), [], 'behind those who wait already')
  door.turn()
  t.same(door.news(), ['c0 in', 'c1 in', 'c2 in'], 'but not for long, however unimportant')
  t.equal(door.partitions[0]!.inFlight, 3)
  t.equal(door.admission.waiting, 3)
  t.end()
})

t.test('a stream gives its place back after a while, and ends but once', (t) => {
  const door = new Door(1)
  const stream = door.ask('stream')
  door.ask('next')
  stream.isAnswering = true
  door.admission.giveBackLongLived(door.clock.now())
  t.equal(door.admission.inFlight, 1, 'not at once')
  door.clock.advance(20)
  door.admission.giveBackLongLived(door.clock.now() + 10_000)
  door.turn()
  t.same(door.news(), ['stream in', 'next in'])
  t.match(door.admission, { inFlight: 1, longLived: 1 })
  door.leave(stream)
  t.match(door.admission, { inFlight: 1, longLived: 0 })
  t.end()
})

t.test('one that has not begun to answer keeps its place however long it takes', (t) => {
  const door = new Door(1)
  door.ask('hangs')
  door.clock.advance(3_600_000)
  door.admission.giveBackLongLived(door.clock.now())
  t.match(door.admission, { inFlight: 1, longLived: 0 })
  t.end()
})

type Step = { readonly kind: 'ask' | 'leave' | 'give up' | 'turn' | 'pass'; readonly n: number }

t.test('whatever happens in whatever order, nobody is lost and places add up', (t) => {
  const step = fc.record<Step>({
    kind: fc.constantFrom('ask', 'ask', 'leave', 'give up', 'turn', 'pass'),
    n: fc.nat(100)
  })
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 200 }),
      fc.integer({ min: 1, max: 6 }),
      (steps, limit) => {
        const door = new Door(limit, { maxQueueLength: 4 }, { a: 0.5, rest: 0.5 })
        const guests: Guest[] = []
        for (const { kind, n } of steps) act(door, guests, kind, n)
        for (const guest of guests.filter(({ isWaiting }) => isWaiting))
          door.admission.giveUp(guest)
        for (const guest of guests.filter(({ isInside }) => isInside)) door.leave(guest)
        const { inFlight, waiting } = door.admission
        const told = new Set(door.news().map((line) => line.split(' ')[0]))
        return inFlight === 0 && waiting === 0 && told.size <= guests.length
      }
    )
  )
  t.end()
})

function act(door: Door, guests: Guest[], kind: Step['kind'], n: number): void {
  if (kind === 'ask') guests.push(door.ask(`g${guests.length}`, PRIORITIES[n % 4], n % 2))
  if (kind === 'turn') door.turn()
  if (kind === 'pass') door.pass(n)
  if (kind === 'leave') {
    const guest = guests.find(({ isInside }) => isInside)
    if (guest !== undefined) door.leave(guest)
  }
  if (kind === 'give up') {
    const guest = guests.find(({ isWaiting }) => isWaiting)
    if (guest !== undefined) door.admission.giveUp(guest)
  }
  const inside = guests.filter(({ isInside }) => isInside).length
  const waits = guests.filter(({ isWaiting }) => isWaiting).length
  if (inside !== door.admission.inFlight) throw new Error('in flight is wrong')
  if (waits !== door.admission.waiting) throw new Error('waiting is wrong')
}

t.test('guards shed the least important first, evenly, and never the most important', (t) => {
  let value = 0
  const guards = new Guards([{ name: 'g', limit: 100, read: () => value }])
  const shedOf = (priority: Priority): number =>
    Array.from({ length: 100 }, () => guards.sheds(rankOf(priority)!)).filter(Boolean).length
  guards.look()
  t.same(PRIORITIES.map(shedOf), [0, 0, 0, 0])
  value = 100
  guards.look()
  t.same(PRIORITIES.map(shedOf), [0, 0, 0, 25])
  for (let i = 0; i < 5; i++) guards.look()
  t.same(PRIORITIES.map(shedOf), [0, 0, 50, 100])
  for (let i = 0; i < 50; i++) guards.look()
  t.same(PRIORITIES.map(shedOf), [0, 100, 100, 100])
  t.end()
})

t.test('a guard that has tripped rests only when its figure is well below the limit', (t) => {
  let value = 100
  const guards = new Guards([{ name: 'g', limit: 100, read: () => value }])
  const isTripped = (next: number): boolean => {
    value = next
    guards.look()
    return guards.tripped !== undefined
  }
  t.same([99, 100, 95, 91, 89, 95].map(isTripped), [false, true, true, true, false, false])
  t.end()
})

t.test(
  'patience shrinks while a queue stands, and comes back when it runs dry now and then',
  (t) => {
    const patience = new Patience({ maxWaitMs: 100, minWaitMs: 5, standingAfterMs: 100 })
    const after = (ms: number, isEverEmpty: boolean): number => {
      const fromMs = nowMs
      for (; nowMs < fromMs + ms; nowMs++) patience.look(isEverEmpty && nowMs % 90 === 0, nowMs)
      return patience.longestWaitMs
    }
    let nowMs = 0
    t.equal(after(1000, true), 100, 'bursts are no queue that stands')
    t.notOk(patience.isStanding)
    t.equal(after(300, false), 25)
    t.ok(patience.isStanding)
    t.equal(after(10_000, false), 5, 'but never goes altogether')
    t.equal(after(5000, true), 100)
    t.end()
  }
)

t.test('after a pause work begins anew', (t) => {
  const turn = new Turn(2)
  turn.isOver(0)
  turn.begin()
  turn.worked(3)
  t.ok(turn.isOver(3.1))
  t.notOk(turn.isOver(4), 'the event loop had time for others')
  turn.see(7)
  t.notOk(turn.isOver(7.1), 'what ends long after it began may have waited')
  t.end()
})

t.test(
  'saturation is the fuller of places and event loop, and all when somebody is turned away',
  (t) => {
    const settled = (places: number, utilisation: number, isTurningAway: boolean): number => {
      const saturation = new Saturation(100)
      for (let i = 0; i < 300; i++) saturation.look(places, utilisation, isTurningAway)
      return Math.round(saturation.ratio * 100) / 100
    }
    t.equal(settled(0.3, 0.6, false), 0.6)
    t.equal(settled(0.7, 0.6, false), 0.7)
    t.equal(settled(7, 0.6, false), 1)
    t.equal(settled(0.1, 0.1, true), 1)
    t.equal(rankOf('normal'), NORMAL)
    t.equal(rankOf('toString'), undefined)
    t.end()
  }
)
