import fc from 'fast-check'
import t from 'tap'
import { GradientLimit } from '../src/gradient-limit.ts'
import type { GradientOptions } from '../src/gradient-limit.ts'

const DEFAULTS: GradientOptions = {
  minLimit: 2,
  maxLimit: 1000,
  initialLimit: 50,
  tolerance: 1.3,
  windowMs: 100,
  minSamples: 20,
  probeIntervalMs: 30_000
}

/**
 * A server with so many workers behind a limit, in steps of a millisecond. What can't be let in is
 * refused, as under a load that never ends.
 */
class SimulatedServer {
  workers: number
  serviceMs: number
  readonly limit: GradientLimit
  nowMs = 0
  done = 0
  slowestMs = 0
  #owed = 0
  readonly #queue: number[] = []
  #working: { startedMs: number; endsMs: number }[] = []

  constructor(workers: number, serviceMs: number, options: Partial<GradientOptions> = {}) {
    this.workers = workers
    this.serviceMs = serviceMs
    this.limit = new GradientLimit({ ...DEFAULTS, ...options }, 0)
  }

  get capacityPerMs(): number {
    return this.workers / this.serviceMs
  }

  get inFlight(): number {
    return this.#queue.length + this.#working.length
  }

  /** @returns share of the capacity that was used */
  run(ms: number, load: number): number {
    const doneBefore = this.done
    this.slowestMs = 0
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; this.nowMs++) this.#step(load)
    return (this.done - doneBefore) / (ms * this.capacityPerMs)
  }

  #step(load: number): void {
    this.#finish()
    for (this.#owed += load * this.capacityPerMs; this.#owed >= 1; this.#owed--) {
      if (this.inFlight < this.limit.limit) this.#queue.push(this.nowMs)
      else this.limit.holdBack()
    }
    while (this.#queue.length > 0 && this.#working.length < this.workers) {
      const startedMs = this.#queue.shift()!
      this.#working.push({ startedMs, endsMs: this.nowMs + this.serviceMs })
    }
  }

  #finish(): void {
    const ended = this.#working.filter(({ endsMs }) => endsMs <= this.nowMs)
    for (const { startedMs } of ended) {
      this.limit.record(startedMs, this.inFlight, this.nowMs)
      this.slowestMs = Math.max(this.slowestMs, this.nowMs - startedMs)
      this.#working = this.#working.filter(({ endsMs }) => endsMs > this.nowMs)
    }
    this.done += ended.length
  }
}

t.test('under overload the limit comes to what the server can do without queueing much', (t) => {
  for (const workers of [4, 10, 40]) {
    for (const load of [2, 5, 10]) {
      const server = new SimulatedServer(workers, 20)
      server.run(5000, load)
      t.ok(server.run(20_000, load) > 0.95, `${workers} workers at ${load}x are kept busy`)
      t.ok(server.slowestMs <= 3 * 20, `nobody waits long: ${server.slowestMs} ms`)
    }
  }
  t.end()
})

t.test('it finds that out also when it never saw the server unloaded', (t) => {
  const server = new SimulatedServer(10, 20, { initialLimit: 400 })
  server.run(20_000, 10)
  t.ok(server.limit.baselineMs < 30, `baseline ${server.limit.baselineMs} ms`)
  t.ok(server.limit.limit < 40, `limit ${server.limit.limit}`)
  t.end()
})

t.test('it grows to whatever the server can do', (t) => {
  const server = new SimulatedServer(300, 20, { initialLimit: 10 })
  server.run(20_000, 2)
  t.ok(server.run(10_000, 2) > 0.9)
  t.end()
})

t.test('a server that gets slower is let do less at once, and more when it is back', (t) => {
  const server = new SimulatedServer(20, 20)
  server.run(10_000, 2)
  server.workers = 5
  server.run(10_000, 8)
  t.ok(server.limit.limit < 20, `limit ${server.limit.limit} for 5 workers`)
  server.workers = 20
  server.run(10_000, 2)
  t.ok(server.run(10_000, 2) > 0.95, 'it has recovered')
  t.end()
})

t.test('when the work itself takes longer, the baseline is measured anew', (t) => {
  const server = new SimulatedServer(10, 20)
  server.run(5000, 2)
  server.serviceMs = 80
  server.run(10_000, 2)
  t.ok(server.run(20_000, 2) > 0.9, 'not taken for queueing')
  t.ok(server.limit.baselineMs > 70, `baseline ${server.limit.baselineMs} ms`)
  t.end()
})

t.test('it does not move while it is not reached', (t) => {
  const server = new SimulatedServer(100, 20)
  server.run(5000, 0.2)
  t.equal(server.limit.limit, 50)
  server.serviceMs = 23
  server.run(5000, 0.05)
  t.equal(server.limit.limit, 50)
  t.end()
})

t.test('measuring the baseline anew costs next to nothing', (t) => {
  const server = new SimulatedServer(10, 20, { probeIntervalMs: 2000 })
  server.run(5000, 3)
  t.ok(server.run(60_000, 3) > 0.93)
  t.end()
})

t.test('whatever is recorded, the limit stays between its ends', (t) => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          latencyMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
          gapMs: fc.double({ min: 0, max: 1e4, noNaN: true }),
          inFlight: fc.integer({ min: 0, max: 5000 }),
          isHeldBack: fc.boolean()
        }),
        { maxLength: 300 }
      ),
      (samples) => {
        const limit = new GradientLimit({ ...DEFAULTS, maxLimit: 60, minSamples: 2 }, 0)
        let nowMs = 0
        for (const { latencyMs, gapMs, inFlight, isHeldBack } of samples) {
          nowMs += gapMs + latencyMs
          if (isHeldBack) limit.holdBack()
          limit.record(nowMs - latencyMs, inFlight, nowMs)
          if (!(limit.limit >= 2 && limit.limit <= 60)) return false
        }
        return true
      }
    )
  )
  t.end()
})

t.test('fewer samples than are judged move nothing', (t) => {
  const limit = new GradientLimit(DEFAULTS, 0)
  for (let i = 0; i < DEFAULTS.minSamples - 1; i++) {
    limit.holdBack()
    limit.record(1000 * i, 50, 1000 * i + 900)
  }
  t.equal(limit.limit, 50)
  t.equal(limit.latencyMs, 0)
  t.end()
})
