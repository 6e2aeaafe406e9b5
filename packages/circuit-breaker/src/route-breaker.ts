import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import { GuardedBreaker } from './guarded-breaker.ts'
import type { Meter } from './meter.ts'
import type { ResolvedRouteOptions, RouteFallback } from './options.ts'
import { RouteCall } from './route-call.ts'
import type { BreakerParts } from './standing.ts'

const SERVER_ERROR = 500

/** The handlers of one route, or of several that share a name, behind a guard. */
export class RouteBreaker extends GuardedBreaker {
  readonly #fallback: RouteFallback | undefined
  readonly #parts: BreakerParts

  constructor(name: string, options: ResolvedRouteOptions, meter: Meter, parts: BreakerParts) {
    super(name, options, meter, parts)
    this.#fallback = options.fallback
    this.#parts = parts
  }

  /**
   * Runs a handler, unless the breaker refuses.
   * @returns what Fastify takes from a handler
   * @throws BreakerOpenError, BulkheadFullError, or what the handler throws
   */
  handle(
    handler: RouteHandlerMethod,
    scope: FastifyInstance,
    request: FastifyRequest,
    reply: FastifyReply
  ): unknown {
    const call = new RouteCall(this, request, reply)
    try {
      this.guard.begin(call)
    } catch (error) {
      if (this.#fallback === undefined) throw error
      return this.#fallBack(this.#fallback, error, request, reply)
    }
    request.breakerCall = call
    call.watch()
    const work: unknown = handler.call(scope, request, reply)
    return isThenable(work) ? call.follow(work) : work
  }

  /** A call's answer begins with this status. */
  answered(call: RouteCall, statusCode: number): void {
    this.guard.settle(call, statusCode >= SERVER_ERROR ? 'failure' : 'success')
  }

  /** Nobody waits for a call any more; that tells nothing. */
  abandoned(call: RouteCall): void {
    this.guard.settle(call, 'neither')
  }

  workEnded(): void {
    this.guard.leave()
  }

  /** Answers in place of a handler that takes too long. */
  async answerInstead(reason: Error, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    if (this.#fallback === undefined) return this.#send(reply, reason)
    try {
      this.#send(reply, await this.#fallBack(this.#fallback, reason, request, reply))
    } catch (error) {
      this.#send(reply, error)
    }
  }

  async #fallBack(
    fallback: RouteFallback,
    error: unknown,
    request: FastifyRequest,
    reply: FastifyReply
  ): Promise<unknown> {
    const payload = await fallback(error, request, reply)
    this.guard.count('fallback', payload)
    return payload
  }

  #send(reply: FastifyReply, payload: unknown): void {
    if (reply.sent) return
    try {
      reply.send(payload)
    } catch (error) {
      this.#parts.onError('fallback', error)
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function'
}
