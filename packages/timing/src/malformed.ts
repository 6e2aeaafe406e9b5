import type { Server } from 'node:http'
import type { Duplex } from 'node:stream'
import type { RequestContext } from '@fastify-vitals/metrics'

/** Status that Node and Fastify answer with to bytes that are no request. */
function statusOf(code: string | undefined): number | undefined {
  // the peer went away, between requests or in the middle of one
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'HPE_INVALID_EOF_STATE')
    return undefined
  if (code === 'HPE_HEADER_OVERFLOW') return 431
  return code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
}

/**
 * Tells of what could not be read as HTTP. Bytes that spoil a request which is already under way
 * are that request's end, and are counted with it; others belong to no route.
 */
export function watchMalformed(
  server: Server,
  requests: RequestContext,
  onMalformed: (status: number) => void
): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    const status = statusOf(error.code)
    if (status === undefined) return
    if (!requests.spoil(socket, status)) onMalformed(status)
  })
}
