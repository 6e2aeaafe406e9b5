import type { Breaker, BreakerCall, BreakerOptions } from './breaker-types.ts'
import { Call } from './call.ts'
import { GuardedBreaker } from './guarded-breaker.ts'
import { LastGood } from './last-good.ts'
import type { Meter } from './meter.ts'
import type { ResolvedBreakerOptions } from './options.ts'
import { Queue } from './queue.ts'
import type { BreakerParts } from './standing.ts'

export type Action<Args extends unknown[], Result> = (
  ...args: [...Args, BreakerCall]
) => Promise<Result> | Result

/** A call whose caller is answered at the time-out. */
class TimedCall extends Call {
  readonly #onGivenUp: (error: Error) => void

  constructor(onGivenUp: (error: Error) => void) {
    super()
    this.#onGivenUp = onGivenUp
  }

  override giveUp(error: Error): void {
    this.#onGivenUp(error)
    super.giveUp(error)
  }
}

/** An action behind a guard, and what answers in its place. */
export class ActionBreaker<Args extends unknown[], Result>
  extends GuardedBreaker
  implements Breaker<Args, Result>
{
  readonly #action: Action<Args, Result>
  readonly #parts: BreakerParts
  readonly #fallback: BreakerOptions<Args, Result>['fallback']
  readonly #staleKey: BreakerOptions<Args, Result>['staleKey']
  readonly #lastGood: LastGood<Result> | undefined
  readonly #queue: Queue | undefined

  constructor(
    name: string,
    action: Action<Args, Result>,
    options: ResolvedBreakerOptions<Args, Result>,
    meter: Meter,
    parts: BreakerParts
  ) {
    super(name, options, meter, parts)
    this.#action = action
    this.#parts = parts
    this.#fallback = options.fallback
    this.#staleKey = options.staleKey
    const { staleMs, staleMaxEntries, maxQueue, queueTimeoutMs } = options
    this.#lastGood = staleMs > 0 ? new LastGood(staleMs, staleMaxEntries) : undefined
    if (maxQueue > 0) {
      const queue = new Queue(maxQueue, queueTimeoutMs, parts.now)
      this.#queue = queue
      this.guard.onRoom = () => this.#letIn(queue)
    }
  }

  fire(...args: Args): Promise<Result> {
    const queue = this.#queue
    if (queue !== undefined && this.#mustWait(queue)) return this.#fireLater(queue, args)
    return this.#fireNow(args)
  }

  protected override get queued(): number {
    return this.#queue?.size ?? 0
  }

  override shutDown(): void {
    super.shutDown()
    this.#queue?.close()
  }

  #mustWait(queue: Queue): boolean {
    const { guard } = this
    return guard.isFull && queue.hasRoom && !guard.standing.isRefusing && !guard.isShutDown
  }

  /** As many as there is room for: all of them, when the circuit refuses them. */
  #letIn(queue: Queue): void {
    while (queue.size > 0 && !this.guard.isFull) queue.letOneIn()
  }

  #fireLater(queue: Queue, args: Args): Promise<Result> {
    return new Promise((resolve) => {
      queue.add((isLetIn) => {
        const goesOn = isLetIn || this.guard.isShutDown
        resolve(
          goesOn ? this.#fireNow(args) : this.#instead(this.guard.refusal('bulkhead_full'), args)
        )
      })
    })
  }

  #fireNow(args: Args): Promise<Result> {
    return this.guard.hasTimeout ? this.#runInTime(args) : this.#run(args)
  }

  /** The plain way: whoever calls waits as long as the action takes. */
  #run(args: Args): Promise<Result> {
    const call = new Call()
    try {
      this.guard.begin(call)
    } catch (error) {
      return this.#instead(error, args)
    }
    return this.#work(call, args)
  }

  /** Whoever calls waits until the time-out, while the action may go on. */
  #runInTime(args: Args): Promise<Result> {
    return new Promise((resolve, reject) => {
      const call = new TimedCall((error) => resolve(this.#instead(error, args)))
      try {
        this.guard.begin(call)
      } catch (error) {
        resolve(this.#instead(error, args))
        return
      }
      this.#work(call, args).then(resolve, reject)
    })
  }

  async #work(call: Call, args: Args): Promise<Result> {
    const { guard } = this
    let value: Result
    try {
      value = await this.#action(...args, call)
    } catch (error) {
      const outcome = guard.outcomeOf(error)
      const isFirst = guard.end(call, outcome, error)
      if (isFirst && outcome === 'failure') return await this.#instead(error, args)
      throw error
    }
    if (guard.end(call, 'success', value)) this.#keep(args, value)
    return value
  }

  /** What answers in place of a call that failed, timed out or was refused. */
  async #instead(error: unknown, args: Args): Promise<Result> {
    const key = this.#lastGood === undefined ? undefined : this.#keyOf(args)
    const good = key === undefined ? undefined : this.#lastGood?.find(key, this.#parts.now())
    if (good !== undefined) {
      this.guard.count('stale', good.value)
      return good.value
    }
    if (this.#fallback === undefined) throw error
    const value = await this.#fallback(error, ...args)
    this.guard.count('fallback', value)
    return value
  }

  #keep(args: Args, value: Result): void {
    if (this.#lastGood === undefined) return
    const key = this.#keyOf(args)
    if (key !== undefined) this.#lastGood.keep(key, value, this.#parts.now())
  }

  #keyOf(args: Args): string | undefined {
    try {
      return this.#staleKey?.(...args)
    } catch (error) {
      this.#parts.onError('staleKey', error)
      return undefined
    }
  }
}
