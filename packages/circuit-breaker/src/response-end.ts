import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** What waits for each connection to close: one listener, however many requests are pipelined. */
const WAITING = new WeakMap<Socket, Set<() => void>>()

/**
 * Tells when a response is done, whole or not, on whatever will tell of it. May tell twice.
 * One that was done before is told of in the next turn: its client left while hooks were running.
 */
export function onResponseEnd(
  { raw: incoming }: FastifyRequest,
  { raw }: FastifyReply,
  onEnd: () => void
): void {
  const { socket } = incoming
  const isQueued = raw.socket === null
  if (isDestroyed(raw) || (isQueued && socket.destroyed)) return process.nextTick(onEnd)
  raw.on('close', onEnd)
  // what waits behind another one on its connection has no socket yet to tell it of its end, and
  // what was upgraded lives as long as its connection
  if (isQueued || isUpgraded(incoming)) onSocketEnd(socket, raw, onEnd)
}

function onSocketEnd(socket: Socket, raw: ServerResponse, onEnd: () => void): void {
  const waiting = WAITING.get(socket) ?? waitFor(socket)
  waiting.add(onEnd)
  raw.once('close', () => waiting.delete(onEnd))
}

function waitFor(socket: Socket): Set<() => void> {
  const waiting = new Set<() => void>()
  WAITING.set(socket, waiting)
  socket.once('close', () => {
    for (const onEnd of waiting) onEnd()
  })
  return waiting
}

/** True for the responses of `app.inject()`, whose client never leaves. They close before they say they have finished. */
function isInjected(raw: ServerResponse): boolean {
  return (raw as ServerResponse & { isLightMyRequest?: boolean }).isLightMyRequest === true
}

/** Node sets it, and its types don't know it. */
function isUpgraded(incoming: IncomingMessage): boolean {
  return (incoming as IncomingMessage & { upgrade?: boolean }).upgrade === true
}

interface Http2Stream {
  readonly destroyed: boolean
  readonly aborted: boolean
}

/** The stream of an HTTP/2 response; Fastify types all responses as HTTP/1. */
function http2Stream(raw: ServerResponse): Http2Stream | undefined {
  return (raw as ServerResponse & { stream?: Http2Stream }).stream
}

/** Over HTTP/2 the stream knows. */
function isDestroyed(raw: ServerResponse): boolean {
  return http2Stream(raw)?.destroyed ?? raw.destroyed
}

/** Whether a response that is done was sent as a whole. */
export function isWhole(raw: ServerResponse): boolean {
  const stream = http2Stream(raw)
  return stream === undefined ? raw.writableFinished || isInjected(raw) : !stream.aborted
}
