import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { RequestRecord } from './request-record.ts'

const CURRENT = Symbol('fastify-vitals.request')

type Marked<Connection> = Connection & { [CURRENT]?: RequestRecord | undefined }

/** Notes which request a connection is busy with; `undefined` when it has ended. */
export function markRequest(socket: Socket, record: RequestRecord | undefined): void {
  ;(socket as Marked<Socket>)[CURRENT] = record
}

/** The request a connection is busy with. */
export function requestOn(socket: Duplex): RequestRecord | undefined {
  return (socket as Marked<Duplex>)[CURRENT]
}

/**
 * The requests of each connection that wait behind another one (pipelining). Their responses have
 * no socket yet, so nobody tells them when the connection closes: this does.
 */
export class QueuedRequests {
  readonly #waiting = new WeakMap<Socket, Set<RequestRecord>>()
  readonly #onLost: (record: RequestRecord) => void

  constructor(onLost: (record: RequestRecord) => void) {
    this.#onLost = onLost
  }

  add(record: RequestRecord): void {
    const { socket } = record.request.raw
    let records = this.#waiting.get(socket)
    if (records === undefined) {
      records = new Set()
      this.#waiting.set(socket, records)
      socket.once('close', () => this.#lose(socket))
    }
    records.add(record)
    record.reply.raw.once('close', () => records.delete(record))
  }

  #lose(socket: Socket): void {
    for (const record of this.#waiting.get(socket) ?? []) this.#onLost(record)
    this.#waiting.delete(socket)
  }
}
