import type { FastifyBaseLogger } from 'fastify'

const MINUTE_MS = 60_000

/** What a line tells besides the breakdown. */
export interface SlowRequest {
  readonly method: string
  readonly route: string
  readonly status_code: number
  readonly duration_ms: number
  readonly breakdown_ms: Readonly<Record<string, number>>
  readonly query_count: number
}

/** Logs slow requests, no more than so many lines a minute: an outage must not fill a disk. */
export class SlowLog {
  readonly #verySlowMs: number
  readonly #linesPerMinute: number
  #minuteMs = -Infinity
  #lines = 0
  #left = 0

  constructor(verySlowMs: number, linesPerMinute: number) {
    this.#verySlowMs = verySlowMs
    this.#linesPerMinute = linesPerMinute
  }

  /** @param nowMs monotonic milliseconds */
  write(log: FastifyBaseLogger, request: SlowRequest, nowMs: number): void {
    if (nowMs - this.#minuteMs >= MINUTE_MS) this.#newMinute(log, nowMs)
    if (this.#lines >= this.#linesPerMinute) {
      this.#left++
      return
    }
    this.#lines++
    if (request.duration_ms >= this.#verySlowMs)
      log.error({ slow_request: request }, 'very slow request')
    else log.warn({ slow_request: request }, 'slow request')
  }

  #newMinute(log: FastifyBaseLogger, nowMs: number): void {
    const left = this.#left
    this.#minuteMs = nowMs
    this.#lines = 0
    this.#left = 0
    if (left > 0) log.warn({ left_out: left }, 'slow requests were left out of the log')
  }
}
