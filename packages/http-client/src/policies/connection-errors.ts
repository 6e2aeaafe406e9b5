/** These come from making a connection only. */
const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'])

/** These from a connection in use as well: only `syscall` tells. */
const BROKEN = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'UND_ERR_SOCKET',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT'
])

/** From `fetch failed` by way of an AggregateError to the error of the system is three steps. */
const MAX_DEPTH = 4

interface MaybeSystemError {
  readonly code?: unknown
  readonly syscall?: unknown
  readonly cause?: unknown
  /** Of an AggregateError: one for each address that was tried. */
  readonly errors?: unknown
}

/**
 * Whether no connection came about, so that the upstream can't have seen anything of the request.
 * In doubt, false.
 */
export function wasNeverSent(error: unknown): boolean {
  return every(
    error,
    (code, syscall) => NEVER_SENT.has(code) || (BROKEN.has(code) && syscall === 'connect')
  )
}

/**
 * Whether no connection came about, or one broke or fell silent: what may pass by itself. Not what
 * the caller did (an abort), nor what will be the same again (a certificate, an answer that is no
 * HTTP, a blocked address).
 */
export function wasBroken(error: unknown): boolean {
  return every(error, (code) => NEVER_SENT.has(code) || BROKEN.has(code))
}

/** The outermost error with a code of its own is what counts; those without are only wrapping. */
function every(
  error: unknown,
  holds: (code: string, syscall: unknown) => boolean,
  depth: number = MAX_DEPTH
): boolean {
  if (typeof error !== 'object' || error === null || depth === 0) return false
  const { code, syscall, cause, errors }: MaybeSystemError = error
  if (Array.isArray(errors) && errors.length > 0) {
    return errors.every((one) => every(one, holds, depth - 1))
  }
  return typeof code === 'string' ? holds(code, syscall) : every(cause, holds, depth - 1)
}
