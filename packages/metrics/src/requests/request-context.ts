import { AsyncLocalStorage } from 'node:async_hooks'
import type { Duplex } from 'node:stream'
import { requestOn } from './connections.ts'
import type { Identity, RecordHost, RequestRecord } from './request-record.ts'
import { RouteTable } from './route-table.ts'

/** Called once for every request when it has ended. Must not throw. */
export type CompletionObserver = (record: RequestRecord, status: number, nowMs: number) => void

/**
 * The requests under way. Costs nothing until a plugin asks to `observe` completions, and no
 * asynchronous context until one asks to `follow` requests into their handlers.
 */
export class RequestContext implements RecordHost {
  readonly routes: RouteTable = new RouteTable()
  identity: Identity = {}
  #storage: AsyncLocalStorage<RequestRecord> | undefined
  readonly #observers: CompletionObserver[] = []
  readonly #install: () => void
  readonly #onError: (what: string, error: unknown) => void
  #installed = false
  readonly #reenter: () => void
  #started = 0
  #completed = 0

  /**
   * @param install adds the hooks that make records; called at most once
   * @param reenter adds the hook that finds the context again after a body was read; likewise
   * @param onError told of what an observer threw: it must not reach a request
   */
  constructor(
    install: () => void,
    reenter: () => void,
    onError: (what: string, error: unknown) => void
  ) {
    this.#onError = onError
    this.#install = install
    this.#reenter = reenter
  }

  /** Requests that have begun and not ended. */
  get inFlight(): number {
    return this.#started - this.#completed
  }

  /** Requests begun so far. */
  get started(): number {
    return this.#started
  }

  /** The request on whose behalf the calling code runs; `undefined` unless somebody follows. */
  current(): RequestRecord | undefined {
    return this.#storage?.getStore()
  }

  /** From now on, tell of every request that ends. For plugins, while they register. */
  observe(observer: CompletionObserver): void {
    this.#observers.push(observer)
    this.#installOnce()
  }

  /**
   * From now on, `current()` knows the request. Costs about a microsecond a request on Node 20 and
   * half of that on 24, so a plugin calls it only when it needs to. For plugins, while they
   * register; plugins and routes registered earlier in scopes of their own may not be followed.
   */
  follow(): void {
    if (this.#storage !== undefined) return
    this.#storage = new AsyncLocalStorage()
    this.#installOnce()
    this.#reenter()
  }

  /** Tells every plugin how to read who a request is for. The functions must not throw. */
  identifyBy(identity: Identity): void {
    this.identity = identity
  }

  /**
   * Bytes that are no HTTP came on a connection.
   * @returns whether they spoiled a request under way, which then ends with `status`
   */
  spoil(socket: Duplex, status: number): boolean {
    const record = requestOn(socket)
    if (record === undefined || record.done) return false
    record.protocolStatus = status
    return true
  }

  /** Runs `next` on behalf of the request. */
  run(record: RequestRecord, next: () => void): void {
    if (this.#storage === undefined) next()
    else this.#storage.run(record, next)
  }

  /** Counts a request that has just begun. */
  begin(): void {
    this.#started++
  }

  /** Ends a request, once: later calls for the same record do nothing. */
  complete(record: RequestRecord, status: number, nowMs: number): void {
    if (record.done) return
    record.done = true
    this.#completed++
    try {
      for (const observer of this.#observers) observer(record, status, nowMs)
    } catch (error) {
      this.#onError('counting a request', error)
    }
  }

  #installOnce(): void {
    if (this.#installed) return
    this.#installed = true
    this.#install()
  }
}
