import { CLIENT_CLOSED_REQUEST, WATCHED_REQUESTS, pathFilter } from '@fastify-vitals/metrics'
import type { Labels, RequestRecord, Route } from '@fastify-vitals/metrics'
import { breakdownOf } from './breakdown.ts'
import { Endpoint } from './endpoint.ts'
import type { HttpMetrics } from './http-metrics.ts'
import type { ResolvedTimingOptions } from './options.ts'
import { kindOf } from './outcome.ts'
import { queueSeconds } from './queue-time.ts'
import { rawHeader } from './raw-headers.ts'
import { SlowLog } from './slow-log.ts'

/** Called for each request that was counted, after it was. */
export type Listener = (record: RequestRecord, status: number, seconds: number) => void

/** Reads the labels on top of a request; never throws. */
export type LabelReader = (record: RequestRecord) => Labels

/** Counts requests when they have ended. */
export class Recorder {
  /** By the route's index; `null` for those that are not timed. */
  readonly #endpoints: (Endpoint | null | undefined)[] = []
  readonly #metrics: HttpMetrics
  readonly #options: ResolvedTimingOptions
  readonly #listeners: readonly Listener[]
  readonly #labels: LabelReader | undefined
  readonly #isExcluded: (url: string) => boolean
  readonly #slowLog: SlowLog
  readonly #queueHeader: string
  readonly #slowMs: number

  constructor(
    metrics: HttpMetrics,
    options: ResolvedTimingOptions,
    listeners: readonly Listener[],
    labels: LabelReader | undefined
  ) {
    this.#labels = labels
    this.#metrics = metrics
    this.#options = options
    this.#listeners = listeners
    this.#isExcluded = pathFilter(options.excludePaths)
    this.#slowLog = new SlowLog(options.verySlowRequestMs, options.slowLogLinesPerMinute)
    this.#queueHeader = options.queueTimeHeader
    this.#slowMs = options.slowRequestMs
  }

  /** All endpoints that saw a request. */
  get endpoints(): Endpoint[] {
    return this.#endpoints.filter((endpoint) => endpoint !== null && endpoint !== undefined)
  }

  find(method: string, url: string): Endpoint | undefined {
    return this.endpoints.find(({ route }) => route.method === method && route.url === url)
  }

  /** Takes a request that has ended. The hot path: once for every request. */
  complete(record: RequestRecord, status: number, nowMs: number): void {
    const { route } = record
    const known = this.#endpoints[route.index]
    const endpoint = known === undefined ? this.#add(route) : known
    if (endpoint === null) return
    const durationMs = nowMs - record.startMs
    endpoint.lastMs = nowMs
    if (!record.reply.raw.chunkedEncoding && record.detail === null && !record.isUpgrade) {
      endpoint.kinds.plain++
      this.#count(endpoint, record, status, durationMs / 1000)
    } else this.#completeByKind(endpoint, record, status, durationMs)
    this.#countSizes(endpoint, record, status)
    if (this.#queueHeader !== '') this.#countQueueTime(record)
    endpoint.queries += record.queryCount
    if (durationMs > endpoint.worst.floorMs) this.#keepWorst(endpoint, record, status, nowMs)
    if (durationMs >= this.#slowMs) this.#logSlow(endpoint, record, status, nowMs)
    for (const listener of this.#listeners) listener(record, status, durationMs / 1000)
  }

  /** Off the hot path: lets the worst requests of an hour ago go. */
  expire(nowMs: number): void {
    for (const endpoint of this.endpoints) endpoint.worst.expire(nowMs)
  }

  reset(): void {
    for (const endpoint of this.endpoints) endpoint.reset()
  }

  #count(endpoint: Endpoint, record: RequestRecord, status: number, seconds: number): void {
    if (this.#labels === undefined) endpoint.count(status, record, seconds)
    else endpoint.countLabelled(status, record, seconds, this.#labels(record))
  }

  #add(route: Route): Endpoint | null {
    const excluded = route.config.timing === false || this.#isExcluded(route.url)
    const endpoint = excluded
      ? null
      : new Endpoint(route, this.#metrics, this.#options.worstRequests)
    this.#endpoints[route.index] = endpoint
    return endpoint
  }

  /** What streams for as long as somebody listens says nothing of speed by its duration. */
  #completeByKind(
    endpoint: Endpoint,
    record: RequestRecord,
    status: number,
    durationMs: number
  ): void {
    const kind = kindOf(record)
    const { route } = endpoint
    endpoint.kinds[kind]++
    if (kind !== 'plain') route.watched = WATCHED_REQUESTS
    const firstByteMs = record.detail?.firstByteMs ?? 0
    if (firstByteMs > 0) endpoint.countFirstByte((firstByteMs - record.startMs) / 1000)
    if (kind === 'stream' || kind === 'plain')
      this.#count(endpoint, record, status, durationMs / 1000)
    else {
      // a listener that hangs up is how such a response ends
      endpoint.countOutcome(
        status === CLIENT_CLOSED_REQUEST ? record.reply.statusCode : status,
        record
      )
      endpoint.countLongLived(kind, durationMs / 1000)
    }
  }

  #countSizes(endpoint: Endpoint, record: RequestRecord, status: number): void {
    if (endpoint.hasRequestBody) {
      const declared = record.request.headers['content-length']
      if (declared !== undefined) endpoint.countRequestSize(Number(declared))
    }
    if (status === CLIENT_CLOSED_REQUEST) return
    if (record.detail !== null && record.detail.firstByteMs > 0) {
      // an HTTP/2 stream shares its socket with others, so its bytes can't be told
      if (record.request.raw.httpVersionMajor > 1) return
      const { socket } = record.request.raw
      endpoint.countResponseSize(socket.bytesWritten - record.detail.bytesBefore)
    } else {
      const declared = record.reply.getHeader('content-length')
      if (declared !== undefined) endpoint.countResponseSize(Number(declared))
    }
  }

  #countQueueTime(record: RequestRecord): void {
    const header = rawHeader(record.request.raw.rawHeaders, this.#queueHeader)
    if (header === undefined) return
    const seconds = queueSeconds(header, performance.timeOrigin + record.startMs)
    if (seconds !== undefined) this.#metrics.queueTimes.with().record(seconds)
  }

  #keepWorst(endpoint: Endpoint, record: RequestRecord, status: number, nowMs: number): void {
    endpoint.worst.add({
      requestId: record.id,
      startedAt: Math.round(performance.timeOrigin + record.startMs),
      durationMs: nowMs - record.startMs,
      status,
      breakdown: breakdownOf(record, nowMs)
    })
  }

  #logSlow(endpoint: Endpoint, record: RequestRecord, status: number, nowMs: number): void {
    endpoint.route.watched = WATCHED_REQUESTS
    const { method, url } = endpoint.route
    const request = {
      method,
      route: url,
      status_code: status,
      duration_ms: Math.round(nowMs - record.startMs),
      breakdown_ms: breakdownOf(record, nowMs),
      query_count: record.queryCount
    }
    this.#slowLog.write(record.request.log, request, nowMs)
  }
}
