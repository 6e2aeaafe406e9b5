import type { IncomingMessage } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Route, RouteTable } from './route-table.ts'

/** Where a request's time can go, besides the handler itself. */
export type PartName =
  | 'database'
  | 'pool_wait'
  | 'cache'
  | 'outbound'
  | 'outbound_queue'
  | 'serialisation'

/**
 * Time spent in one kind of work, as a union of intervals: work that overlaps counts once, so a
 * part is never longer than its request.
 */
export class RequestPart {
  /** How many pieces of work were begun. */
  count = 0
  #active = 0
  #sinceMs = 0
  #totalMs = 0

  /** @param nowMs monotonic milliseconds */
  enter(nowMs: number): void {
    this.count++
    if (this.#active++ === 0) this.#sinceMs = nowMs
  }

  leave(nowMs: number): void {
    if (this.#active > 0 && --this.#active === 0) this.#totalMs += nowMs - this.#sinceMs
  }

  /** Milliseconds until `nowMs`, work still under way included. */
  totalMs(nowMs: number): number {
    return this.#totalMs + (this.#active > 0 ? nowMs - this.#sinceMs : 0)
  }
}

/**
 * When its reply went out, monotonic milliseconds. Noting this costs a third of what all the rest
 * costs, so only the requests have it whose route is new, streams, or was slow lately.
 */
export class RequestDetail {
  /** When the reply was handed over, to be serialised and sent; 0 until then. */
  replyMs = 0
  /** When the call that handed it over was done; 0 until then. */
  repliedMs = 0
  /** When a streamed body's first byte was written; 0 unless it streams. */
  firstByteMs = 0
  /** Bytes its connection had sent before that. */
  bytesBefore = 0
}

/** What a request failed with, if it did: no message, because messages carry data. */
export interface RequestError {
  readonly name: string
  readonly code: string | undefined
}

/** How to read who a request is for. */
export interface Identity {
  readonly tenant?: ((record: RequestRecord) => string | undefined) | undefined
  readonly user?: ((record: RequestRecord) => string | undefined) | undefined
}

/** What all records of an app share. */
export interface RecordHost {
  readonly routes: RouteTable
  readonly identity: Identity
}

/**
 * One request while it is under way: when it began, and where its time went so far. Plugins add to
 * it through `vitals.requests.current()`. Always the same shape, so reading it stays cheap.
 */
export class RequestRecord {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  /** Monotonic milliseconds. */
  readonly startMs: number
  /** Its route, when its handler was called; `null` until then. */
  knownRoute: Route | null
  /** When its reply was sent, byte by byte; `null` for most requests, see `RequestDetail`. */
  detail: RequestDetail | null
  error: RequestError | undefined
  /** HTTP status that the protocol gave it because its bytes made no sense; 0 if they did. */
  protocolStatus: number
  done: boolean
  private allParts: Map<PartName, RequestPart> | undefined

  private readonly host: RecordHost

  constructor(request: FastifyRequest, reply: FastifyReply, startMs: number, host: RecordHost) {
    this.host = host
    this.request = request
    this.reply = reply
    this.startMs = startMs
    // assigned here and not where they are declared: initialisers of fields cost a call a request
    this.knownRoute = null
    this.detail = null
    this.error = undefined
    this.protocolStatus = 0
    this.done = false
    this.allParts = undefined
  }

  get id(): string {
    return this.request.id
  }

  /** Whether the connection was taken over by another protocol, such as WebSocket. */
  get isUpgrade(): boolean {
    // Node sets it on every request; its types don't know it
    return (this.request.raw as IncomingMessage & { upgrade?: boolean }).upgrade === true
  }

  /** The route that matched, also before its handler was called. */
  get route(): Route {
    this.knownRoute ??= this.host.routes.find(this.request)
    return this.knownRoute
  }

  /** Whose request it is, where the app told us how to know. */
  get tenant(): string | undefined {
    return this.host.identity.tenant?.(this)
  }

  get user(): string | undefined {
    return this.host.identity.user?.(this)
  }

  /** The part of that name, made when it is new. */
  part(name: PartName): RequestPart {
    this.allParts ??= new Map()
    let part = this.allParts.get(name)
    if (part === undefined) {
      part = new RequestPart()
      this.allParts.set(name, part)
    }
    return part
  }

  /** The parts anything was spent on. */
  get parts(): Iterable<readonly [PartName, RequestPart]> {
    return this.allParts ?? []
  }

  /** Number of database queries so far. */
  get queryCount(): number {
    return this.allParts?.get('database')?.count ?? 0
  }

  /** Number of calls to other services so far. */
  get outboundCount(): number {
    return this.allParts?.get('outbound')?.count ?? 0
  }
}
