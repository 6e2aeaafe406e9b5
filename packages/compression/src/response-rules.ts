import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SkipReason } from './compression-metrics.ts'
import type { ContentTypes } from './content-types.ts'
import { weakened } from './etag.ts'
import { headerText, names, varyWith } from './header-lists.ts'

const PARTIAL_CONTENT = 206
const LOWEST_WITH_BODY = 200
const NO_CONTENT = 204
const NOT_MODIFIED = 304

/** Why a response has to go out as it is, whoever asks; `undefined` when it may be compressed. */
export function untouchable(reply: FastifyReply, types: ContentTypes): SkipReason | undefined {
  const { statusCode } = reply
  const isBodiless =
    statusCode < LOWEST_WITH_BODY || statusCode === NO_CONTENT || statusCode === NOT_MODIFIED
  if (isBodiless || statusCode === PARTIAL_CONTENT || reply.hasHeader('content-range')) {
    return 'partial'
  }
  const encoding = headerText(reply.getHeader('content-encoding'))
  if (encoding !== '' && encoding !== 'identity') return 'encoded'
  if (!types.has(headerText(reply.getHeader('content-type')))) return 'type'
  const caching = reply.getHeader('cache-control')
  if (caching !== undefined && names(caching, 'no-transform')) return 'no_transform'
  const isDigested = reply.hasHeader('content-digest') || reply.hasHeader('content-md5')
  return isDigested ? 'digest' : undefined
}

/** Tells caches that what they keep depends on what the client takes. */
export function addVary(reply: FastifyReply): void {
  const vary = varyWith(reply.getHeader('vary'))
  if (vary !== undefined) reply.header('vary', vary)
}

/** The headers of a body that has just been compressed. */
export function markEncoded(reply: FastifyReply, encoding: string): void {
  reply.header('content-encoding', encoding)
  const tag = headerText(reply.getHeader('etag'))
  if (tag !== '') reply.header('etag', weakened(tag))
  if (reply.hasHeader('content-length')) reply.removeHeader('content-length')
}

/** What the client says it takes; nothing when a proxy or a debugging person asked for none. */
export function accepted({ headers }: FastifyRequest): string | undefined {
  if (headers['x-no-compression'] !== undefined) return undefined
  return headers['accept-encoding']
}
