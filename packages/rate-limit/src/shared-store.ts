import { createHash, randomUUID } from 'node:crypto'
import { BoundedCalls, CallGivenUpError } from './bounded-calls.ts'
import type { CallFailure } from './bounded-calls.ts'
import type { Policy } from './policy.ts'
import { BEAT_SCRIPT, RedisScript, TAKE_SCRIPT } from './redis-script.ts'
import type { RedisClient } from './redis-script.ts'
import { newVerdict } from './verdict.ts'
import type { Verdict } from './verdict.ts'

export interface SharedStoreOptions {
  readonly client: RedisClient
  readonly keyPrefix: string
  readonly timeoutMs: number
  /** How many instances share the limits; counted by their beats when not given. */
  readonly instances?: number | undefined
}

/** What the store tells of itself. */
export interface StoreListener {
  answered(seconds: number): void
  failed(reason: CallFailure): void
  /** It was given up, or is back. */
  turned(isUp: boolean): void
}

/** So many failures in a row, and the store is not asked until it answers a beat again. */
const FAILURES_TO_GIVE_UP = 3
/** While it is given up, it is asked for a sign of life this often. */
const PROBE_MS = 250
/** While it answers, an instance tells of itself every so many probes. */
const PROBES_PER_BEAT = 8
const GONE_AFTER_MS = 10_000
const MOST_WAITING = 10_000

const take = new RedisScript(TAKE_SCRIPT)
const beat = new RedisScript(BEAT_SCRIPT)

/**
 * Limits that several processes share through Redis or Valkey. A call takes at most the time-out.
 * When calls fail in a row the store is left alone, and a beat, outside of any request, finds out
 * when it is back.
 */
export class SharedStore {
  readonly timeoutMs: number
  readonly #options: SharedStoreOptions
  readonly #listener: StoreListener
  readonly #calls: BoundedCalls
  readonly #timer: NodeJS.Timeout
  readonly #id = randomUUID()
  #isUp = true
  #failures = 0
  #probes = 0
  #isBeating = false
  #counted = 1

  constructor(options: SharedStoreOptions, listener: StoreListener) {
    this.timeoutMs = options.timeoutMs
    this.#options = options
    this.#listener = listener
    this.#calls = new BoundedCalls(options.timeoutMs, MOST_WAITING, () => performance.now())
    this.#timer = setInterval(() => this.#probe(), PROBE_MS).unref()
    void this.#beat()
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Instances that share the limits, as far as is known. */
  get instances(): number {
    return this.#options.instances ?? this.#counted
  }

  /** @returns `undefined` when the store can't decide now: the caller must */
  async take(
    limiter: string,
    policies: readonly Policy[],
    key: string,
    cost: number
  ): Promise<Verdict | undefined> {
    if (!this.#isUp) return undefined
    const keys = this.#keys(limiter, policies, key)
    const args = policies.flatMap(({ kind, size, windowMs }) => [
      kind === 'token-bucket' ? 'b' : 'w',
      size,
      windowMs
    ])
    try {
      return verdictOf(
        await this.#call(() => take.run(this.#options.client, keys, [cost, ...args]))
      )
    } catch (error) {
      this.#noteFailure(error)
      return undefined
    }
  }

  async forget(limiter: string, policies: readonly Policy[], key: string): Promise<boolean> {
    const keys = this.#keys(limiter, policies, key)
    return Number(await this.#call(() => this.#options.client.del(...keys))) > 0
  }

  close(): void {
    clearInterval(this.#timer)
    this.#calls.close()
  }

  /**
   * A key of the client's does not stand in Redis as it came. All policies of a key have one hash
   * tag, so a cluster keeps them together.
   */
  #keys(limiter: string, policies: readonly Policy[], key: string): string[] {
    const digest = createHash('sha256').update(limiter).update('\0').update(key).digest('base64url')
    return policies.map(({ name }) => `${this.#options.keyPrefix}{${digest.slice(0, 27)}}:${name}`)
  }

  async #call<Result>(send: () => Promise<Result>): Promise<Result> {
    const { status } = this.#options.client
    if (status !== undefined && status !== 'ready') {
      // a client that is connecting again would queue the command and send it much later
      throw new CallGivenUpError('unavailable', `the connection is ${status}`)
    }
    const startMs = performance.now()
    const result = await this.#calls.run(send)
    this.#failures = 0
    this.#listener.answered((performance.now() - startMs) / 1000)
    return result
  }

  #noteFailure(error: unknown): void {
    const reason = error instanceof CallGivenUpError ? error.reason : 'error'
    this.#listener.failed(reason)
    if (++this.#failures < FAILURES_TO_GIVE_UP || !this.#isUp) return
    this.#isUp = false
    this.#listener.turned(false)
  }

  #probe(): void {
    this.#probes++
    if (!this.#isUp || this.#probes % PROBES_PER_BEAT === 0) void this.#beat()
  }

  /** Tells of itself, counts the others, and learns whether the store answers. */
  async #beat(): Promise<void> {
    if (this.#isBeating) return
    this.#isBeating = true
    const { client, keyPrefix } = this.#options
    try {
      const args = [this.#id, GONE_AFTER_MS]
      const count = await this.#call(() => beat.run(client, [`${keyPrefix}instances`], args))
      this.#counted = Math.max(1, Number(count) || 1)
      if (!this.#isUp) {
        this.#isUp = true
        this.#listener.turned(true)
      }
    } catch (error) {
      this.#noteFailure(error)
    } finally {
      this.#isBeating = false
    }
  }
}

/** @throws Error for an answer that is not the script's */
function verdictOf(answer: unknown): Verdict {
  if (!Array.isArray(answer) || answer.length !== 5) throw new Error('the store answered nonsense')
  const [allowed, place, remaining, resetMs, waitMs] = answer.map(Number) as [
    number,
    number,
    number,
    number,
    number
  ]
  const verdict = newVerdict()
  verdict.isAllowed = allowed === 1
  verdict.policy = place - 1
  verdict.remaining = remaining
  verdict.resetMs = resetMs
  verdict.waitMs = waitMs
  return verdict
}
