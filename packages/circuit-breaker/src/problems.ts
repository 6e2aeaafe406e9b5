import { STATUS_CODES } from 'node:http'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { RefusedError } from './errors.ts'
import type { BreakerError } from './errors.ts'

/**
 * Whether errors in a scope are answered by a handler of the user's own. Fastify's is known by its
 * name only: should that change, its plain JSON is what clients get.
 */
export function hasErrorHandler(scope: FastifyInstance): boolean {
  return scope.errorHandler.name !== 'defaultErrorHandler'
}

/** Answers that a breaker refused, or gave a call up. @see RFC 9457 */
export function sendProblem(reply: FastifyReply, error: BreakerError): void {
  const { statusCode, code, message } = error
  const retryAfterSeconds = error instanceof RefusedError ? error.retryAfterSeconds : undefined
  const problem = {
    type: 'about:blank',
    title: STATUS_CODES[statusCode],
    status: statusCode,
    detail: message,
    code,
    retry_after_seconds: retryAfterSeconds
  }
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds)
  reply.code(statusCode).type('application/problem+json').send(JSON.stringify(problem))
}
