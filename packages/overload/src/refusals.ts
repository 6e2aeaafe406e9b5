import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Refusal } from './entrant.ts'

const DETAILS: Readonly<Record<Refusal, string>> = {
  full: 'The server has as much to do as it can; too many wait already.',
  late: 'The server has as much to do as it can; this waited too long.',
  guard: 'The server runs short of resources and does only what is more important.'
}

/** Clients are told to come back at so many different times, lest they all come at once. */
const SPREAD = 3
/** More of a body than this is not read for the sake of the connection. */
const MOST_BODY_BYTES = 16_384

interface Answer {
  readonly headers: string[]
  readonly body: string
}

/**
 * Answers with 503 at the least cost, since there are many of these when there is no time: prepared
 * bytes, past the serialiser and the onSend hooks. Headers that earlier hooks have set are kept.
 */
export class Refusals {
  readonly #answers: ReadonlyMap<Refusal, readonly Answer[]>
  #next = 0

  constructor(retryAfterSeconds: number) {
    const reasons = Object.keys(DETAILS) as Refusal[]
    const seconds = Array.from({ length: SPREAD }, (_, i) => retryAfterSeconds + i)
    this.#answers = new Map(
      reasons.map((reason) => [reason, seconds.map((each) => answerFor(reason, each))])
    )
  }

  send(reason: Refusal, request: FastifyRequest, reply: FastifyReply): void {
    this.#next = (this.#next + 1) % SPREAD
    const { headers, body } = this.#answers.get(reason)![this.#next]!
    const { raw } = reply
    const set = Object.entries(reply.getHeaders())
    reply.hijack()
    if (raw.headersSent || raw.destroyed) return
    for (const [name, value] of set) if (value !== undefined) raw.setHeader(name, value)
    if (hasMuchBody(request)) raw.setHeader('connection', 'close')
    raw.writeHead(503, headers)
    raw.end(body)
  }
}

function answerFor(reason: Refusal, retryAfterSeconds: number): Answer {
  const body = JSON.stringify({
    type: 'about:blank',
    title: 'Service Unavailable',
    status: 503,
    detail: DETAILS[reason],
    code: 'VITALS_OVERLOADED',
    retry_after_seconds: retryAfterSeconds
  })
  const headers = [
    'content-type',
    'application/problem+json',
    'retry-after',
    String(retryAfterSeconds),
    'content-length',
    String(Buffer.byteLength(body))
  ]
  return { headers, body }
}

/** Whether so much is still to come that the connection is better given up. */
function hasMuchBody({ headers, raw }: FastifyRequest): boolean {
  if (raw.httpVersionMajor !== 1) return false
  if (headers['transfer-encoding'] !== undefined) return true
  return Number(headers['content-length'] ?? 0) > MOST_BODY_BYTES
}
