import { Dispatcher } from 'undici'
import type { Pool } from 'undici'

/** Is told how far a request has come. `failed` says which error the caller gets. */
export interface RequestObserver {
  /** A connection is there and the request goes out. May come again on another connection. */
  sent(abort: (error?: Error) => void): void
  answered(): void
  completed(): void
  failed(error: unknown): Error
}

type Handler = Dispatcher.DispatchHandler

/**
 * Sits between undici's `request` and its pool, and tells the observer that comes as `opaque` how
 * far the request is. In the form of handlers that undici uses within, which needs no conversion.
 */
export class MeasuredDispatcher extends Dispatcher {
  readonly #pool: Pool

  constructor(pool: Pool) {
    super()
    this.#pool = pool
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Handler): boolean {
    const { opaque } = options as Dispatcher.RequestOptions<RequestObserver>
    return this.#pool.dispatch(options, opaque ? new MeasuredHandler(handler, opaque) : handler)
  }
}

class MeasuredHandler implements Handler {
  readonly #handler: Handler
  readonly #observer: RequestObserver

  constructor(handler: Handler, observer: RequestObserver) {
    this.#handler = handler
    this.#observer = observer
  }

  onConnect(...start: [abort: (error?: Error) => void]): void {
    // undici's types leave out a second argument
    this.#handler.onConnect!(...start)
    this.#observer.sent(start[0])
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void, text: string): boolean {
    if (status >= 200) this.#observer.answered()
    return this.#handler.onHeaders!(status, headers, resume, text)
  }

  onData(chunk: Buffer): boolean {
    return this.#handler.onData!(chunk)
  }

  onComplete(trailers: string[] | null): void {
    this.#handler.onComplete!(trailers)
    this.#observer.completed()
  }

  onError(error: Error): void {
    this.#handler.onError!(this.#observer.failed(error))
  }
}
