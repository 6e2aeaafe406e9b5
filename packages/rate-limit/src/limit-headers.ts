import type { FastifyReply } from 'fastify'
import type { HeaderStyle } from './options.ts'
import type { Policy } from './policy.ts'
import { secondsOf } from './verdict.ts'
import type { Verdict } from './verdict.ts'

/** Tells a client of its limit. */
export type WriteHeaders = (reply: FastifyReply, verdict: Verdict) => void

/**
 * What writes the header fields of the chosen styles; `undefined` when there are none. Names and all
 * that does not change are made once.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ version 10 for `draft`, 6 for `draft-6`
 */
export function headerWriter(
  styles: readonly HeaderStyle[],
  policies: readonly Policy[]
): WriteHeaders | undefined {
  const writers = [...new Set(styles)].map((style) => WRITERS[style](policies))
  if (writers.length < 2) return writers[0]
  return (reply, verdict) => {
    for (const write of writers) write(reply, verdict)
  }
}

const WRITERS: Readonly<Record<HeaderStyle, (policies: readonly Policy[]) => WriteHeaders>> = {
  draft: draftWriter,
  'draft-6': (policies) => separateWriter('ratelimit', policies),
  legacy: (policies) => separateWriter('x-ratelimit', policies)
}

function draftWriter(policies: readonly Policy[]): WriteHeaders {
  const all = policies
    .map(({ name, size, windowMs }) => `"${name}";q=${size};w=${secondsOf(windowMs)}`)
    .join(', ')
  const starts = policies.map(({ name }) => `"${name}";r=`)
  // most clients stay within their rate, so what they are told is what the one before was told
  let last = { policy: -1, remaining: 0, seconds: 0 }
  let text = ''
  return (reply, { policy, remaining, resetMs }) => {
    const seconds = secondsOf(resetMs)
    if (remaining !== last.remaining || seconds !== last.seconds || policy !== last.policy) {
      last = { policy, remaining, seconds }
      text = `${starts[policy]}${remaining};t=${seconds}`
    }
    reply.header('ratelimit-policy', all)
    reply.header('ratelimit', text)
  }
}

function separateWriter(prefix: string, policies: readonly Policy[]): WriteHeaders {
  const names = [`${prefix}-limit`, `${prefix}-remaining`, `${prefix}-reset`] as const
  const sizes = policies.map(({ size }) => String(size))
  return (reply, { policy, remaining, resetMs }) => {
    reply.header(names[0], sizes[policy])
    reply.header(names[1], remaining)
    reply.header(names[2], secondsOf(resetMs))
  }
}
