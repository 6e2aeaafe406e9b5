import t from 'tap'
import { Admission } from '../src/admission.ts'
import type { AdmissionOptions } from '../src/admission.ts'
import { Entrant } from '../src/entrant.ts'
import { GradientLimit } from '../src/gradient-limit.ts'
import { Partition } from '../src/partition.ts'
import { NORMAL } from '../src/priority.ts'

/** What reading, parsing and refusing one request costs. */
const READ_MS = 0.02
const REFUSE_MS = 0.005
const OPTIONS: AdmissionOptions = {
  maxQueueLength: 500,
  maxWaitMs: 100,
  minWaitMs: 5,
  standingAfterMs: 100,
  turnMs: 1,
  longLivedMs: 10_000
}

/**
 * An event loop that does as Node's does, in made-up time: it looks at all sockets, one after the
 * other, and only then runs what was put off. Handlers keep it busy for `workMs` and never wait.
 */
class SimulatedLoop {
  nowMs = 0
  answeredMs: number[] = []
  refused = 0
  readonly workMs: number
  readonly admission: Admission | undefined
  readonly partition = new Partition('', 1)
  #soon: (() => void) | undefined
  #timer: { callback: () => void; atMs: number } | undefined
  #nextMs = 0
  #seed = 42

  constructor(workMs: number, isProtected: boolean) {
    this.workMs = workMs
    if (isProtected) this.admission = this.#protection()
  }

  /** Requests come at random times, so many times as many as can be done. */
  run(forMs: number, load: number): { goodput: number; p99Ms: number } {
    this.answeredMs = []
    this.refused = 0
    this.#nextMs = this.nowMs
    const startMs = this.nowMs
    while (this.nowMs < startMs + forMs) this.#turn(load)
    const sorted = this.answeredMs.toSorted((a, b) => a - b)
    return {
      goodput: (sorted.length * this.workMs) / (this.nowMs - startMs),
      p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? Infinity
    }
  }

  work(sentMs: number): void {
    this.nowMs += this.workMs
    this.answeredMs.push(this.nowMs - sentMs)
  }

  refuse(): void {
    this.nowMs += REFUSE_MS
    this.refused++
  }

  #turn(load: number): void {
    const timer = this.#timer
    if (timer !== undefined && timer.atMs <= this.nowMs) {
      this.#timer = undefined
      timer.callback()
    }
    const arrived = this.#arrivals(load)
    for (const sentMs of arrived) this.#read(sentMs)
    const callback = this.#soon
    this.#soon = undefined
    callback?.()
    if (arrived.length === 0 && callback === undefined) this.#sleep()
  }

  #sleep(): void {
    this.nowMs = Math.max(this.nowMs, Math.min(this.#nextMs, this.#timer?.atMs ?? Infinity))
  }

  #arrivals(load: number): number[] {
    const arrived: number[] = []
    while (this.#nextMs <= this.nowMs) {
      arrived.push(this.#nextMs)
      this.#nextMs += (-Math.log(1 - this.#random()) * this.workMs) / load
    }
    return arrived
  }

  #read(sentMs: number): void {
    this.nowMs += READ_MS
    const { admission } = this
    if (admission === undefined) return this.work(sentMs)
    const request = new Request(this, sentMs)
    if (admission.enter(request)) {
      this.work(sentMs)
      admission.handled()
      admission.leave(request, true, this.nowMs)
    } else if (!admission.wait(request)) this.refuse()
  }

  #protection(): Admission {
    const limit = new GradientLimit(
      {
        minLimit: 2,
        maxLimit: 1000,
        initialLimit: 50,
        tolerance: 1.3,
        windowMs: 100,
        minSamples: 20,
        probeIntervalMs: 30_000
      },
      0
    )
    return new Admission(OPTIONS, {
      limit,
      partitions: [this.partition],
      now: () => this.nowMs,
      hasNews: () => false,
      soon: (callback) => (this.#soon = callback),
      later: (callback, ms) => (this.#timer = { callback, atMs: this.nowMs + ms })
    })
  }

  /** Lehmer's generator: the same numbers at each run. */
  #random(): number {
    this.#seed = (this.#seed * 48_271) % 2_147_483_647
    return this.#seed / 2_147_483_647
  }
}

class Request extends Entrant {
  readonly isAnswering = false
  readonly #loop: SimulatedLoop
  readonly #sentMs: number

  constructor(loop: SimulatedLoop, sentMs: number) {
    super(NORMAL, loop.partition, loop.nowMs)
    this.#loop = loop
    this.#sentMs = sentMs
  }

  override proceed(): void {
    this.#loop.work(this.#sentMs)
    this.#loop.admission!.leave(this, true, this.#loop.nowMs)
  }

  override refuse(): void {
    this.#loop.refuse()
  }
}

const WORK_MS = [0.5, 2, 10, 50]

t.test('handlers that never wait: as much as possible is done, and what is done is quick', (t) => {
  for (const workMs of WORK_MS) {
    const unloaded = new SimulatedLoop(workMs, false).run(100_000, 0.2)
    for (const load of [2, 5, 10]) {
      const loop = new SimulatedLoop(workMs, true)
      loop.run(2000, load)
      const { goodput, p99Ms } = loop.run(20_000, load)
      const possible = (1 - (load * (READ_MS + REFUSE_MS)) / workMs) / (1 - REFUSE_MS / workMs)
      const what = `${workMs} ms of work at ${load}x: ${(goodput / possible).toFixed(3)} of what is possible, p99 ${p99Ms.toFixed(1)} ms, unloaded ${unloaded.p99Ms.toFixed(1)}`
      t.ok(goodput / possible > 0.96, what)
      t.ok(p99Ms < 3 * unloaded.p99Ms, what)
    }
  }
  t.end()
})

t.test('when the load is gone, all are let in again', (t) => {
  const loop = new SimulatedLoop(2, true)
  loop.run(5000, 10)
  loop.run(500, 0.5)
  loop.run(10_000, 0.5)
  t.equal(loop.refused, 0)
  t.notOk(loop.admission!.patience.isStanding)
  t.end()
})

t.test('a load that can be done is done, bursts and all, and just over it most', (t) => {
  for (const load of [0.5, 0.8, 0.9, 1.2]) {
    const loop = new SimulatedLoop(2, true)
    loop.run(2000, load)
    const share = loop.run(60_000, load).goodput / Math.min(1, load)
    t.ok(share > 0.95, `${share} at ${load}x`)
  }
  t.end()
})
