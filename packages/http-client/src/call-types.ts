import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'

/** What can be sent. A stream is sent once; a function makes a body anew for each attempt. */
export type CallBody = string | Uint8Array | Readable | AsyncIterable<Uint8Array | string>

export type QueryValue = string | number | boolean | null | undefined

export interface RetryOptions {
  maxAttempts?: number
  baseMs?: number
  maxMs?: number
  maxElapsedMs?: number
  maxRetryAfterMs?: number
  methods?: readonly string[]
  statuses?: readonly number[]
}

export interface HedgingOptions {
  delayMs?: number | 'p95'
  minDelayMs?: number
}

/** One call. */
export interface CallOptions {
  /** Default `GET`. */
  method?: string
  /** Begins with a slash. */
  path: string
  /** Added to the path; what is `undefined` is left out. */
  query?: Readonly<Record<string, QueryValue | readonly QueryValue[]>>
  headers?: Readonly<Record<string, string | readonly string[] | undefined>>
  body?: CallBody | (() => CallBody | Promise<CallBody>) | undefined
  /** Ends the call, also while its body is being read. */
  signal?: AbortSignal | undefined
  /** Milliseconds for the call as a whole: queue, attempts, pauses and body. */
  timeoutMs?: number
  /** Says that the call may be made twice, though its method doesn't. */
  idempotent?: boolean
  /** `false`: one attempt only; otherwise over the client's options. */
  retry?: boolean | RetryOptions
  /** `true` or options: a second attempt when the first is late; only of calls that may be made twice. */
  hedge?: boolean | HedgingOptions
}

/** Where the time of the attempt that answered went, in milliseconds. */
export interface CallTimings {
  /** Waiting for a place in our own pool. */
  readonly queueMs: number
  /** Until a connection was there and the request went out. */
  readonly connectMs: number
  /** From then until the answer began. */
  readonly firstByteMs: number
  /** From then until it ended; `undefined` until it has. */
  readonly bodyMs: number | undefined
  /** Of the whole call until the answer began: earlier attempts and pauses included. */
  readonly totalMs: number
}

/** Undici's body: `json()`, `text()`, `bytes()`, `dump()`, or read it as a stream. */
export type ResponseBody = Dispatcher.ResponseData['body']

export interface ClientResponse {
  readonly status: number
  /** Lower case names; several of one name are a list. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Read it, or `dump()` it: until then it holds a connection. */
  readonly body: ResponseBody
  readonly timings: CallTimings
  /** Which upstream answered. */
  readonly origin: string
  /** How many attempts it took, hedges included. */
  readonly attempts: number
}

/** A named client: pools, breakers, retries. */
export interface HttpClient {
  readonly name: string
  /**
   * Makes a call. An answer of any status is an answer; what fails is thrown.
   * @throws HttpClientError by kind: UpstreamError (502), UpstreamTimeoutError and DeadlineError
   *   (504), PoolFullError (503), CallAbortedError (499); BreakerOpenError (503)
   */
  request(call: CallOptions): Promise<ClientResponse>
}

/** Gives a client that was declared, or declares one. */
export interface HttpClients<Options> {
  /** @throws VitalsError `VITALS_HTTP_CLIENT_UNKNOWN` */
  (name: string): HttpClient
  /**
   * Declares a client; at the start, not at each request.
   * @throws VitalsOptionError for options it can't work with
   * @throws VitalsError `VITALS_HTTP_CLIENT_EXISTS`, `VITALS_HTTP_CLIENTS_FULL`
   */
  (name: string, options: Options): HttpClient
}
