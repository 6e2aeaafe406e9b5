import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import type { BreakerError } from './errors.ts'
import { GuardedBreaker } from './guarded-breaker.ts'
import type { Meter } from './meter.ts'
import type { ResolvedRouteOptions, RouteFallback } from './options.ts'
import { hasErrorHandler, sendProblem } from './problems.ts'
import { RouteCall } from './route-call.ts'
import type { BreakerParts } from './standing.ts'

const SERVER_ERROR = 500

/** A route as its breaker knows it. */
export interface ProtectedRoute {
  readonly handler: RouteHandlerMethod
  /** Whether it has one of its own, besides that of its scope. */
  readonly hasErrorHandler: boolean
}

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
    route: ProtectedRoute,
    scope: FastifyInstance,
    request: FastifyRequest,
    reply: FastifyReply
  ): unknown {
    const call = new RouteCall(this, route, request, reply)
    try {
      this.guard.begin(call)
    } catch (error) {
      if (this.#fallback !== undefined) return this.#fallBack(this.#fallback, error, request, reply)
      return this.#refuse(route, error as BreakerError, reply)
    }
    request.breakerCall = call
    call.watch()
    const work: unknown = route.handler.call(scope, request, reply)
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
  async answerInstead(
    route: ProtectedRoute,
    reason: BreakerError,
    request: FastifyRequest,
    reply: FastifyReply
  ): Promise<void> {
    if (isAnswered(reply)) return
    try {
      if (this.#fallback === undefined) this.#refuse(route, reason, reply)
      else this.#send(reply, await this.#fallBack(this.#fallback, reason, request, reply))
    } catch (error) {
      this.#send(reply, error)
    }
  }

  /** @throws the error again, where the app has a handler for errors */
  #refuse(route: ProtectedRoute, error: BreakerError, reply: FastifyReply): void {
    if (route.hasErrorHandler || hasErrorHandler(reply.server)) throw error
    sendProblem(reply, error)
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
    if (isAnswered(reply)) return
    try {
      reply.send(payload)
    } catch (error) {
      this.#parts.onError('fallback', error)
    }
  }
}

function isAnswered({ sent, raw }: FastifyReply): boolean {
  return sent || raw.headersSent
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function'
}
