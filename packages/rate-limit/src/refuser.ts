import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RateLimitProblem } from './options.ts'
import type { OnBadCallback } from './request-reader.ts'
import type { Policy } from './policy.ts'
import { secondsOf } from './verdict.ts'
import type { Verdict } from './verdict.ts'

type Problem = (request: FastifyRequest, problem: RateLimitProblem) => unknown

/** Answers the requests that may not go on. */
export class Refuser {
  readonly #problem: Problem | undefined
  readonly #onBad: OnBadCallback

  constructor(problem: Problem | undefined, onBad: OnBadCallback) {
    this.#problem = problem
    this.#onBad = onBad
  }

  /** @see RFC 9457, and the problem type of the rate limit draft */
  limited(
    request: FastifyRequest,
    reply: FastifyReply,
    { policy, waitMs }: Verdict,
    policies: readonly Policy[]
  ): void {
    const seconds = Math.max(1, secondsOf(waitMs))
    reply.header('retry-after', seconds)
    this.#send(request, reply, {
      type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
      title: 'Too Many Requests',
      status: 429,
      detail: `Too many requests. Come again in ${seconds} s.`,
      code: 'VITALS_RATE_LIMITED',
      retry_after_seconds: seconds,
      'violated-policies': [policies[policy]!.name]
    })
  }

  denied(request: FastifyRequest, reply: FastifyReply): void {
    this.#send(request, reply, {
      type: 'about:blank',
      title: 'Forbidden',
      status: 403,
      detail: 'Requests from this address are not answered.',
      code: 'VITALS_ADDRESS_DENIED'
    })
  }

  #send(request: FastifyRequest, reply: FastifyReply, problem: RateLimitProblem): void {
    reply.code(problem.status).type('application/problem+json')
    reply.send(this.#body(request, problem))
  }

  #body(request: FastifyRequest, problem: RateLimitProblem): unknown {
    if (this.#problem !== undefined) {
      try {
        const body = this.#problem(request, problem)
        if (body !== undefined) return typeof body === 'string' ? body : JSON.stringify(body)
        this.#onBad('problem', new TypeError('the problem function returned nothing'))
      } catch (error) {
        this.#onBad('problem', error)
      }
    }
    return JSON.stringify(problem)
  }
}
