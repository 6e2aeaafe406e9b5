import type { Test } from 'tap'
import { ActionBreaker } from '../src/action-breaker.ts'
import { CALL_RESULTS } from '../src/breaker-types.ts'
import type { BreakerCall, BreakerOptions, CallResult, Transition } from '../src/breaker-types.ts'
import type { Meter } from '../src/meter.ts'
import { resolveBreakerOptions } from '../src/options.ts'
import { FakeTime, settled } from './fake-time.ts'

type Work = BreakerOptions<[string], string>

/** Counts calls in plain numbers. */
class PlainMeter implements Meter {
  readonly counts = Object.fromEntries(CALL_RESULTS.map((result) => [result, 0])) as Record<
    CallResult,
    number
  >
  readonly seconds: number[] = []

  count(result: CallResult): void {
    this.counts[result]++
  }

  record(seconds: number): void {
    this.seconds.push(seconds)
  }

  totals(): Record<CallResult, number> {
    return this.counts
  }
}

/** A call that the test ends when and how it likes. */
export interface Held {
  readonly key: string
  readonly call: BreakerCall
  succeed(value?: string): void
  fail(error?: Error): void
}

/** A breaker without an app, on a time and a chance of the test's own, whose action waits to be told. */
export class BreakerOnTrial {
  readonly time: FakeTime
  readonly meter = new PlainMeter()
  readonly held: Held[] = []
  readonly moves: Transition[] = []
  readonly callbackErrors: [string, unknown][] = []
  /** What the next `random()` gives. */
  chance = 0.5
  readonly breaker: ActionBreaker<[string], string>

  constructor(t: Test, options: Work = {}) {
    this.time = new FakeTime(t)
    const resolved = resolveBreakerOptions<[string], string>('tried', {}, options)
    this.breaker = new ActionBreaker<[string], string>(
      'tried',
      (key, call) => this.#hold(key, call),
      resolved,
      this.meter,
      {
        now: this.time.now,
        random: () => this.chance,
        onError: (callback, error) => this.callbackErrors.push([callback, error])
      }
    )
    this.breaker.on((move) => this.moves.push(move))
    t.teardown(() => this.breaker.shutDown())
  }

  /** Begins a call; how it is answered is told as text, so that nothing is left unhandled. */
  begin(key: string = 'k'): Promise<string> {
    return this.breaker
      .fire(key)
      .catch((error: Error & { code?: string }) => error.code ?? error.message)
  }

  /** Ends the call that has waited longest. */
  end(how: 'succeed' | 'fail'): void {
    const [first] = this.held.splice(0, 1)
    if (first === undefined) throw new Error('there is no call to end')
    first[how]()
  }

  /** One call after another, each of which takes `ms`. @returns their answers */
  async calls(outcomes: string, ms: number = 0): Promise<string[]> {
    const answers: string[] = []
    for (const outcome of outcomes) {
      const before = this.held.length
      const answer = this.begin()
      if (ms > 0) await this.time.advance(ms)
      if (this.held.length > before) this.end(outcome === '+' ? 'succeed' : 'fail')
      answers.push(await answer)
    }
    await settled()
    return answers
  }

  get state(): string {
    return this.breaker.state
  }

  #hold(key: string, call: BreakerCall): Promise<string> {
    return new Promise((resolve, reject) => {
      this.held.push({
        key,
        call,
        succeed: (value = 'good') => resolve(value),
        fail: (error = new Error('bad')) => reject(error)
      })
    })
  }
}
