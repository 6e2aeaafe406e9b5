import { VitalsError } from '@fastify-vitals/metrics'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Call } from './call.ts'
import type { RouteBreaker } from './route-breaker.ts'

/**
 * One request whose handler runs behind a breaker. How it went is known when its answer begins: a
 * slow reader is not held against the route. Its work has ended when the response is done and the
 * handler's promise is settled, whichever comes last.
 */
export class RouteCall extends Call {
  readonly #breaker: RouteBreaker
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  #isGivenUp = false
  #hasEnded = false
  /** What must still end: the response, and the handler. */
  #pending = 1

  constructor(breaker: RouteBreaker, request: FastifyRequest, reply: FastifyReply) {
    super()
    this.#breaker = breaker
    this.#request = request
    this.#reply = reply
  }

  /** Listens for the end of the response, on whatever will tell of it. */
  watch(): void {
    const { raw } = this.#reply
    const onEnd = (): void => this.#responseEnded()
    raw.on('close', onEnd)
    // responses of inject finish and never close
    if ((raw as { isLightMyRequest?: boolean }).isLightMyRequest === true) raw.on('finish', onEnd)
    // one that waits behind another on its connection has no socket yet to tell it of its end
    else if (raw.socket === null) this.#request.raw.socket.once('close', onEnd)
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

  /** A hijacked reply takes its own time; what it has begun to send is its answer. */
  override mayTimeOut(): boolean {
    const { raw } = this.#reply
    if (raw.headersSent) this.#breaker.answered(this, raw.statusCode)
    return !raw.headersSent && !this.#reply.sent
  }

  override giveUp(error: Error): void {
    this.#isGivenUp = true
    super.giveUp(error)
    void this.#breaker.answerInstead(error, this.#request, this.#reply)
  }

  #responseEnded(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    if (!this.isOver) this.#endUnanswered()
    this.#leave()
  }

  /** It was not sent by Fastify: somebody else did, or the client went away. */
  #endUnanswered(): void {
    const { raw } = this.#reply
    if (raw.writableFinished) return this.#breaker.answered(this, raw.statusCode)
    this.#breaker.abandoned(this)
    this.abort(new VitalsError('VITALS_CLIENT_GONE', 'the client went away before it was answered'))
  }

  #leave(): void {
    if (--this.#pending === 0) this.#breaker.workEnded()
  }
}
