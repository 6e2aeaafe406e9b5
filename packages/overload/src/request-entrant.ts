import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { Entrant } from './entrant.ts'
import type { Refusal } from './entrant.ts'
import type { Partition } from './partition.ts'
import type { Rank } from './priority.ts'

/** What becomes of entrants is told to this. */
export interface Doorkeeper {
  /** A handler that is called by `proceed` has returned, or waits for something. */
  proceeded(entrant: RequestEntrant): void
  refused(entrant: RequestEntrant, reason: Refusal): void
  /** Its response is done, or its client has gone. Told once, also to those still waiting. */
  ended(entrant: RequestEntrant): void
}

const ENTRANT = Symbol('fastify-vitals.overload')

interface Marked extends ServerResponse {
  [ENTRANT]?: RequestEntrant
  /** Responses of `inject`. */
  readonly isLightMyRequest?: boolean
}

/** A request that asks to be let in, and holds its place until its response is done. */
export class RequestEntrant extends Entrant {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly teaches: boolean
  isOver: boolean
  readonly #keeper: Doorkeeper
  readonly #done: HookHandlerDoneFunction

  constructor(
    rank: Rank,
    partition: Partition,
    nowMs: number,
    teaches: boolean,
    keeper: Doorkeeper,
    request: FastifyRequest,
    reply: FastifyReply,
    done: HookHandlerDoneFunction
  ) {
    super(rank, partition, nowMs)
    this.request = request
    this.reply = reply
    this.teaches = teaches
    this.isOver = false
    this.#keeper = keeper
    this.#done = done
  }

  /** Listens for the end of the response, on whatever will tell of it. */
  watch(): void {
    const raw: Marked = this.reply.raw
    raw[ENTRANT] = this
    raw.on('close', onEnd)
    // responses of inject finish and never close
    if (raw.isLightMyRequest === true) raw.on('finish', onEnd)
    // one that waits behind others on its connection has no socket of its own yet to tell it of its
    // end, and one whose connection was taken over has none any more
    else if (raw.socket === null || this.isUpgrade) {
      this.request.raw.socket.once('close', () => this.end())
    }
  }

  get isUpgrade(): boolean {
    // Node sets it on every request; its types don't know it
    return (this.request.raw as IncomingMessage & { upgrade?: boolean }).upgrade === true
  }

  override get isAnswering(): boolean {
    return this.reply.raw.headersSent || this.isUpgrade
  }

  end(): void {
    if (this.isOver) return
    this.isOver = true
    this.#keeper.ended(this)
  }

  /** Whether its time tells how long work takes: it was done well, and was no stream. */
  get isSample(): boolean {
    const { raw } = this.reply
    if (!this.teaches || !raw.writableFinished || raw.statusCode >= 400) return false
    return this.request.raw.httpVersionMajor === 1
      ? !raw.chunkedEncoding
      : raw.hasHeader('content-length')
  }

  /** Goes on to the handler. */
  letIn(): void {
    this.#done()
  }

  override proceed(): void {
    this.#done()
    this.#keeper.proceeded(this)
  }

  override refuse(reason: Refusal): void {
    this.isOver = true
    this.#keeper.refused(this, reason)
  }
}

/** One listener for all: a closure for each would cost more. */
function onEnd(this: Marked): void {
  this[ENTRANT]?.end()
}
