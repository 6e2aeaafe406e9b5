import type { Breaker } from '@fastify-vitals/circuit-breaker'
import { Pool } from 'undici'
import type { buildConnector } from 'undici'
import type { AttemptResult, Blame } from './blame.ts'
import type { OriginMeter } from './client-metrics.ts'
import type { Whereabouts } from './errors.ts'
import { MeasuredDispatcher } from './measured-dispatcher.ts'
import type { ResolvedClientOptions } from './option-types.ts'
import { SsrfGuard } from './policies/ssrf-guard.ts'
import { Slots } from './slots.ts'

/** Undici closes an idle connection after so long when the upstream doesn't say how long it keeps it. */
const UNTOLD_KEEP_ALIVE_MS = 4000

/** The idle connections of all clients of an app. */
export interface IdleLimit {
  readonly maxIdle: number
  openSockets: number
}

/** An answer that has gone on for so long is taken for a good one. */
const VERDICT_MS = 1000

/** Work that a breaker judges by how its promise ends. */
export interface Judged {
  send(): Promise<void>
}

export type UpstreamBreaker = Breaker<[Judged], void>

/** What becomes known of an origin as attempts end. */
export interface OriginFigures {
  /** That were sent, or tried to. */
  requests: number
  /** By the upstream's fault. */
  failed: number
  /** Never sent: a full pool, an open breaker. */
  refused: number
  totalMs: number
  /** Milliseconds since the epoch; 0 when never. */
  lastUsedAt: number
}

/** One origin of a client: its connections, who waits for them, and its circuit breaker. */
export class Upstream {
  readonly index: number
  readonly where: Whereabouts & { readonly origin: string }
  readonly slots: Slots
  readonly dispatcher: MeasuredDispatcher
  readonly meter: OriginMeter
  readonly figures: OriginFigures = {
    requests: 0,
    failed: 0,
    refused: 0,
    totalMs: 0,
    lastUsedAt: 0
  }
  breaker: UpstreamBreaker | undefined
  /** Sooner than a breaker gives up those that it lets through to try. */
  readonly verdictMs: number
  readonly #pool: Pool
  readonly #maxIdle: number
  readonly #idle: IdleLimit
  #openSockets = 0

  constructor(
    client: string,
    origin: string,
    index: number,
    options: ResolvedClientOptions,
    parts: { readonly meter: OriginMeter; readonly idle: IdleLimit; readonly now: () => number }
  ) {
    this.index = index
    this.where = { client, origin }
    this.meter = parts.meter
    this.verdictMs = Math.min(VERDICT_MS, openMsOf(options) / 2)
    this.#idle = parts.idle
    this.#maxIdle = options.maxIdlePerOrigin ?? Infinity
    this.slots = new Slots(
      {
        limit: options.connections,
        maxQueue: options.maxQueue,
        queueTimeoutMs: options.queueTimeoutMs
      },
      parts.now
    )
    this.#pool = new Pool(origin, poolOptions(options))
    this.dispatcher = new MeasuredDispatcher(this.#pool)
    this.#pool.on('connect', () => this.#opened(1))
    this.#pool.on('disconnect', () => this.#opened(-1))
  }

  get origin(): string {
    return this.where.origin
  }

  /** Whether its breaker would let a call through. */
  get isLettingIn(): boolean {
    const { breaker } = this
    return breaker === undefined || breaker.state === 'closed' || breaker.retryAfterMs() === 0
  }

  /** Whether the connection of the next request is to be closed after it, because enough are kept. */
  get mustNotKeep(): boolean {
    return (
      this.#openSockets > this.#maxIdle ||
      this.slots.running > this.#maxIdle ||
      this.#idle.openSockets > this.#idle.maxIdle
    )
  }

  /** Open connections that nobody uses. */
  get idleSockets(): number {
    const { connected, running } = this.#pool.stats
    return Math.max(0, connected - running)
  }

  get openSockets(): number {
    return this.#openSockets
  }

  /**
   * An attempt has ended.
   * @param durationMs since it was dispatched; left out when it never was
   */
  note(result: AttemptResult, blame: Blame, durationMs: number | undefined): void {
    const { figures } = this
    this.meter.count(result)
    if (durationMs === undefined) {
      figures.refused++
      return
    }
    figures.requests++
    figures.totalMs += durationMs
    figures.lastUsedAt = Date.now()
    if (blame === 'upstream') figures.failed++
  }

  /** An answer failed that was taken for a good one: to the breaker that is one more call. */
  reportLate(failure: Error): void {
    const { breaker } = this
    if (breaker?.state !== 'closed') return
    const send = async (): Promise<void> => {
      throw failure
    }
    breaker.fire({ send }).catch(() => {})
  }

  /** Forgets how calls went; when it was last used stays so. */
  reset(): void {
    Object.assign(this.figures, { requests: 0, failed: 0, refused: 0, totalMs: 0 })
  }

  /** Lets what is under way end. */
  async drain(): Promise<void> {
    await this.#pool.close()
  }

  async destroy(): Promise<void> {
    await this.#pool.destroy()
  }

  #opened(by: number): void {
    this.#openSockets += by
    this.#idle.openSockets += by
  }
}

function openMsOf({ breaker }: ResolvedClientOptions): number {
  return (breaker === false ? undefined : breaker.openMs) ?? Infinity
}

function poolOptions(options: ResolvedClientOptions): Pool.Options {
  const { idleTimeoutMs, ssrfGuard, tls, maxResponseBytes } = options
  const connect: buildConnector.BuildOptions = { ...tls, timeout: options.connectTimeoutMs }
  return {
    connections: options.connections,
    pipelining: 1,
    headersTimeout: options.headersTimeoutMs,
    bodyTimeout: options.bodyTimeoutMs,
    keepAliveTimeout: Math.min(idleTimeoutMs, UNTOLD_KEEP_ALIVE_MS),
    keepAliveMaxTimeout: idleTimeoutMs,
    ...(maxResponseBytes === undefined ? {} : { maxResponseSize: maxResponseBytes }),
    connect: ssrfGuard === false ? connect : new SsrfGuard(ssrfGuard).connector(connect)
  }
}
