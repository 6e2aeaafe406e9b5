import type { FastifyReply, FastifyRequest } from 'fastify'
import { digestOf } from './digest.ts'
import { noneMatchNames, tagOf } from './etag.ts'
import { headerText } from './header-lists.ts'

/** What tagging a response came to. */
export interface Tagged {
  /** Of the body, if it was made. */
  readonly digest: string | undefined
  /** The client has this body already. */
  readonly isKnown: boolean
}

const UNTAGGED: Tagged = { digest: undefined, isKnown: false }

/** Gives a response a weak tag made of its body, unless it has one, and looks whether the client knows it. */
export function tagResponse(
  request: FastifyRequest,
  reply: FastifyReply,
  body: string | Buffer
): Tagged {
  if (request.method !== 'GET' || reply.statusCode !== 200) return UNTAGGED
  const given = headerText(reply.getHeader('etag'))
  const digest = given === '' ? digestOf(body) : undefined
  const tag = digest === undefined ? given : tagOf(digest)
  if (digest !== undefined) reply.header('etag', tag)
  const asked = request.headers['if-none-match']
  return { digest, isKnown: asked !== undefined && noneMatchNames(asked, tag) }
}

/** Turns a response into "you have it": no body, and no headers that describe one. */
export function becomeNotModified(reply: FastifyReply): void {
  reply.code(304)
  for (const name of ['content-length', 'content-type', 'content-encoding', 'content-language']) {
    reply.removeHeader(name)
  }
}
