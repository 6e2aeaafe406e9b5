import type { ServerResponse } from 'node:http'

interface Http2Stream {
  /** Whether it was given up before its end. */
  readonly aborted: boolean
}

/** The stream of an HTTP/2 response; `undefined` for HTTP/1. */
export function http2Stream(raw: ServerResponse): Http2Stream | undefined {
  // Fastify types all responses as HTTP/1
  return (raw as ServerResponse & { stream?: Http2Stream }).stream
}
