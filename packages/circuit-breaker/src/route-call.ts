import { VitalsError } from '@fastify-vitals/metrics'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Call } from './call.ts'
import type { BreakerError } from './errors.ts'
import { isWhole, onResponseEnd } from './response-end.ts'
import type { ProtectedRoute, RouteBreaker } from './route-breaker.ts'

/**
 * One request whose handler runs behind a breaker. How it went is known when its answer begins: a
 * slow reader is not held against the route. Its work has ended when the response is done and the
 * handler's promise is settled, whichever comes last.
 */
export class RouteCall extends Call {
  readonly #breaker: RouteBreaker
  readonly #route: ProtectedRoute
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  #isGivenUp = false
  #hasEnded = false
  /** What must still end: the response, and the handler. */
  #pending = 1

  constructor(
    breaker: RouteBreaker,
    route: ProtectedRoute,
    request: FastifyRequest,
    reply: FastifyReply
  ) {
    super()
    this.#breaker = breaker
    this.#route = route
    this.#request = request
    this.#reply = reply
  }

  /** Listens for the end of the response. */
  watch(): void {
    onResponseEnd(this.#request, this.#reply, () => this.#responseEnded())
  }

  /**
   * Waits for what the handler returned.
   * @returns what Fastify gets instead: a handler that was given up must not send any more
   */
  follow(work: PromiseLike<unknown>): Promise<unknown> {
    this.#pending++
    return new Promise((resolve, reject) => {
      const onDone = (payload: unknown): void => {
        this.#leave()
        if (!this.#isGivenUp) resolve(payload)
      }
      const onFailed = (error: unknown): void => {
        this.#leave()
        if (!this.#isGivenUp) reject(error)
        else this.#request.log.debug({ err: error }, 'a handler failed after its time-out')
      }
      work.then(onDone, onFailed)
    })
  }

  /** The answer begins. */
  answered(): void {
    if (!this.isOver) this.#breaker.answered(this, this.#reply.statusCode)
  }

  /**
   * A hijacked reply takes its own time. What it has begun to send is its answer; as long as there is
   * nothing, that tells nothing, so that a probe of this kind doesn't keep others waiting.
   */
  override mayTimeOut(): boolean {
    const { raw, sent } = this.#reply
    if (raw.headersSent) this.#breaker.answered(this, raw.statusCode)
    else if (sent) this.#breaker.abandoned(this)
    return !this.isOver
  }

  override giveUp(error: BreakerError): void {
    this.#isGivenUp = true
    super.giveUp(error)
    void this.#breaker.answerInstead(this.#route, error, this.#request, this.#reply)
  }

  #responseEnded(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    const { raw } = this.#reply
    // what was not judged yet was not sent by Fastify
    if (isWhole(raw)) this.#breaker.answered(this, raw.statusCode)
    else this.#clientLeft()
    this.#leave()
  }

  #clientLeft(): void {
    this.#breaker.abandoned(this)
    this.abort(new VitalsError('VITALS_CLIENT_GONE', 'the client went away before it was answered'))
  }

  #leave(): void {
    if (--this.#pending === 0) this.#breaker.workEnded()
  }
}
