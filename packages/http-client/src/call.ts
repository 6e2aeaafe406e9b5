import type { RequestPart, RequestRecord } from '@fastify-vitals/metrics'
import type { Dispatcher } from 'undici'
import type { Attempt } from './attempt.ts'
import type { CallPolicies, CallPolicy } from './call-policies.ts'
import type { CallBody, CallOptions } from './call-types.ts'
import { CallInvalidError } from './errors.ts'
import type { Whereabouts } from './errors.ts'
import type { Lifetime } from './lifetime.ts'
import type { ResolvedClientOptions } from './option-types.ts'
import { hasIdempotencyKey, isReplayable } from './policies/retry-policy.ts'
import { checkBody } from './request-body.ts'
import { addTraceContext } from './trace-context.ts'

/** A deadline so far ahead is none that anybody meant. */
const MAX_MS = 2 ** 31 - 1

type Headers = Record<string, string | readonly string[]>

/** One call as it was asked for, and what all of its attempts share. */
export class Call {
  readonly options: ResolvedClientOptions
  readonly method: string
  readonly body: CallOptions['body']
  /** Whether whoever calls says that it may be sent twice; `undefined`: its method tells. */
  readonly isIdempotent: boolean | undefined
  readonly isReplayable: boolean
  readonly startMs: number
  /** Milliseconds that it may take in all. */
  readonly allowedMs: number
  /** Whether the deadline is that of the request it is made for, and not our own. */
  readonly isDeadlineInherited: boolean
  readonly outbound: RequestPart | undefined
  readonly outboundQueue: RequestPart | undefined
  lifetime!: Lifetime
  policy!: CallPolicy
  /** Made so far, hedges included. */
  attempts = 0
  wasDispatched = false
  /** Origin of the last one; -1 before the first. */
  lastIndex = -1
  #answer: Attempt | undefined
  readonly #path: string
  readonly #headers: Headers

  constructor(
    given: CallOptions,
    options: ResolvedClientOptions,
    record: RequestRecord | undefined,
    nowMs: number
  ) {
    if (typeof given.body !== 'function') checkBody(given.body)
    this.#path = pathWith(given)
    this.options = options
    this.method = given.method?.toUpperCase() ?? 'GET'
    this.body = given.body
    this.#headers = headersOf(given, options, record)
    this.isIdempotent = given.idempotent ?? (hasIdempotencyKey(this.#headers) ? true : undefined)
    this.isReplayable = typeof given.body === 'function' || isReplayable(given.body)
    this.startMs = nowMs
    const ownMs = Math.min(given.timeoutMs ?? options.timeoutMs, MAX_MS)
    const leftMs = options.inheritDeadline ? inheritedMs(options, record, nowMs) : undefined
    this.isDeadlineInherited = leftMs !== undefined && leftMs < ownMs
    this.allowedMs = this.isDeadlineInherited ? leftMs! : ownMs
    this.outbound = record?.part('outbound')
    this.outboundQueue = record?.part('outbound_queue')
  }

  get deadlineMs(): number {
    return this.startMs + this.allowedMs
  }

  /** What undici sends for an attempt. */
  dispatchOptions(
    attempt: Attempt,
    body: CallBody | undefined
  ): Dispatcher.RequestOptions<Attempt> {
    return {
      method: this.method,
      path: this.#path,
      headers: this.#headersAt(attempt.dispatchMs) as Record<string, string | string[]>,
      opaque: attempt,
      ...(body === undefined ? {} : { body: body as Dispatcher.DispatchOptions['body'] & {} }),
      ...(attempt.upstream.mustNotKeep ? { reset: true } : {})
    }
  }

  /** Its answer comes from this attempt: it lives until that has ended. */
  answeredBy(attempt: Attempt): void {
    this.#answer = attempt
    if (attempt.endMs !== 0) this.lifetime.end()
  }

  /** One of its attempts has ended. */
  ended(attempt: Attempt): void {
    if (attempt === this.#answer) this.lifetime.end()
  }

  #headersAt(nowMs: number): Headers {
    const { sendDeadline, deadlineHeader } = this.options
    if (!sendDeadline) return this.#headers
    const leftMs = Math.max(0, Math.floor(this.deadlineMs - nowMs))
    return { ...this.#headers, [deadlineHeader]: String(leftMs) }
  }
}

/** @throws CallInvalidError for what can't be written into a request */
export function callOf(
  given: CallOptions,
  options: ResolvedClientOptions,
  policies: CallPolicies,
  record: RequestRecord | undefined,
  nowMs: number,
  where: Whereabouts
): Call {
  try {
    const call = new Call(given, options, record, nowMs)
    call.policy = policies.of(call, given)
    return call
  } catch (error) {
    throw new CallInvalidError((error as Error).message, where, error)
  }
}

/** @throws CallInvalidError for what can't be a call */
export function checkCall(given: CallOptions, where: Whereabouts): void {
  if (typeof given?.path !== 'string' || !given.path.startsWith('/')) {
    throw new CallInvalidError(
      `path must begin with a slash, got ${JSON.stringify(given?.path)}`,
      where
    )
  }
  const { timeoutMs, method, signal } = given
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw new CallInvalidError('signal must be an AbortSignal', where)
  }
  if (timeoutMs !== undefined && !(timeoutMs > 0)) {
    throw new CallInvalidError(`timeoutMs must be > 0, got ${String(timeoutMs)}`, where)
  }
  if (method !== undefined && (typeof method !== 'string' || method.toUpperCase() === 'CONNECT')) {
    throw new CallInvalidError(`method must be one of HTTP but CONNECT, got ${method}`, where)
  }
}

/** In lower case, with what is passed on; undici copies them, so attempts share them. */
function headersOf(
  { headers }: CallOptions,
  options: ResolvedClientOptions,
  record: RequestRecord | undefined
): Headers {
  const made: Headers = {}
  for (const name in headers) {
    const value = headers[name]
    if (value !== undefined) made[name.toLowerCase()] = value
  }
  if (options.forwardTrace) addTraceContext(made, record?.request.headers)
  const { requestIdHeader } = options
  if (requestIdHeader !== '' && record !== undefined) made[requestIdHeader] ??= record.id
  return made
}

/** Milliseconds that the request has left, if it says so. */
function inheritedMs(
  { deadlineHeader }: ResolvedClientOptions,
  record: RequestRecord | undefined,
  nowMs: number
): number | undefined {
  const text = record?.request.headers[deadlineHeader]
  if (typeof text !== 'string' || !/^\d{1,10}$/.test(text)) return undefined
  return Math.max(0, record!.startMs + Number(text) - nowMs)
}

/** Undici would refuse a path that has a query already. */
function pathWith({ path, query }: CallOptions): string {
  if (query === undefined || query === null) return path
  const pairs = Object.entries(query).flatMap(([name, values]) =>
    [values]
      .flat()
      .filter((value) => value !== undefined)
      .map((value) => `${encodeURIComponent(name)}=${encodeURIComponent(value ?? '')}`)
  )
  if (pairs.length === 0) return path
  return `${path}${path.includes('?') ? '&' : '?'}${pairs.join('&')}`
}
