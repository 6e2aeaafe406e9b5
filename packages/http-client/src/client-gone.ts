import type { ServerResponse } from 'node:http'
import { VitalsError } from '@fastify-vitals/metrics'

type OnGone = (error: Error) => void

/** What waits for each response: one listener, however many calls are made for its request. */
const WAITING = new WeakMap<ServerResponse, Set<OnGone>>()

/** Whether the client went away before all of its answer was sent. */
export function isGone(response: ServerResponse): boolean {
  const { stream, isLightMyRequest } = response as Untyped
  // over HTTP/2 the stream knows; the client of `app.inject()` never leaves
  if (stream !== undefined) return stream.aborted
  return isLightMyRequest !== true && response.destroyed && !response.writableFinished
}

export function goneError(): Error {
  return new VitalsError('VITALS_CLIENT_GONE', 'the client went away before it was answered')
}

/** Tells when the client goes away before it was answered. @returns stops listening */
export function onGone(response: ServerResponse, tell: OnGone): () => void {
  const waiting = WAITING.get(response) ?? listen(response)
  waiting.add(tell)
  return () => void waiting.delete(tell)
}

function listen(response: ServerResponse): Set<OnGone> {
  const waiting = new Set<OnGone>()
  WAITING.set(response, waiting)
  response.once('close', () => {
    if (!isGone(response)) return
    for (const tell of waiting) tell(goneError())
  })
  return waiting
}

/** What Fastify, which types all responses as HTTP/1 of Node, does not say of them. */
interface Untyped {
  readonly stream?: { readonly aborted: boolean }
  readonly isLightMyRequest?: boolean
}
