import { errors } from 'undici'
import {
  CallAbortedError,
  CallInvalidError,
  ClientClosedError,
  HttpClientError,
  UpstreamError,
  UpstreamTimeoutError
} from './errors.ts'
import type { Whereabouts } from './errors.ts'
import { BlockedAddressError } from './policies/blocked-address-error.ts'

/** How far an attempt had come when it failed. */
export type Stage = 'unsent' | 'sent' | 'answering'

interface MaybeCoded {
  readonly code?: unknown
  readonly message?: unknown
}

/** Errors that our own code has thrown already stay as they are. */
function isOurs(error: unknown): boolean {
  return error instanceof HttpClientError || error instanceof BlockedAddressError
}

/**
 * What an error of undici or the system means to whoever called, with a stable code. The error
 * itself is its `cause`.
 */
export function translated(error: unknown, stage: Stage, where: Whereabouts): Error {
  if (isOurs(error)) return error as Error
  const { code, message }: MaybeCoded = typeof error === 'object' && error !== null ? error : {}
  const known = typeof code === 'string' ? BY_CODE[code] : undefined
  if (known !== undefined) return known(where, error)
  const detail = typeof message === 'string' && message !== '' ? message : String(code ?? error)
  if (error instanceof errors.HTTPParserError) {
    if (stage === 'answering' && /EOF/.test(detail)) {
      return new UpstreamError('truncated', 'the upstream broke off its answer', where, error)
    }
    return new UpstreamError(
      'nonsense',
      `the upstream's answer is no HTTP: ${detail}`,
      where,
      error
    )
  }
  // connections fail with codes: this was thrown while the request was made or written
  const isCoded = typeof code === 'string' || error instanceof AggregateError
  if (!isCoded || error instanceof TypeError) return new CallInvalidError(detail, where, error)
  if (stage === 'unsent') {
    return new UpstreamError(
      'unreachable',
      `no connection to the upstream: ${detail}`,
      where,
      error
    )
  }
  return stage === 'sent'
    ? new UpstreamError('reset', `the upstream broke the connection: ${detail}`, where, error)
    : new UpstreamError('truncated', `the upstream broke off its answer: ${detail}`, where, error)
}

type Translation = (where: Whereabouts, cause: unknown) => Error

const BY_CODE: Readonly<Record<string, Translation>> = {
  UND_ERR_CONNECT_TIMEOUT: (where, cause) =>
    new UpstreamTimeoutError('connect', 'connecting to the upstream took too long', where, cause),
  UND_ERR_HEADERS_TIMEOUT: (where, cause) =>
    new UpstreamTimeoutError('headers', 'the upstream did not answer in time', where, cause),
  UND_ERR_BODY_TIMEOUT: (where, cause) =>
    new UpstreamTimeoutError(
      'body',
      'the upstream stopped in the middle of its answer',
      where,
      cause
    ),
  UND_ERR_HEADERS_OVERFLOW: (where, cause) =>
    new UpstreamError(
      'nonsense',
      "the headers of the upstream's answer are too large",
      where,
      cause
    ),
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: (where, cause) =>
    new UpstreamError('truncated', 'the answer is not as long as it said', where, cause),
  UND_ERR_RES_EXCEEDED_MAX_SIZE: (where, cause) =>
    new UpstreamError('too_large', 'the answer is larger than maxResponseBytes', where, cause),
  UND_ERR_ABORTED: (where, cause) => new CallAbortedError(where, cause),
  UND_ERR_ABORT: (where, cause) => new CallAbortedError(where, cause),
  UND_ERR_INVALID_ARG: (where, cause) =>
    new CallInvalidError((cause as Error).message, where, cause),
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: (where, cause) =>
    new CallInvalidError('the body is not as long as content-length says', where, cause),
  UND_ERR_NOT_SUPPORTED: (where, cause) =>
    new CallInvalidError((cause as Error).message, where, cause),
  UND_ERR_DESTROYED: (where) => new ClientClosedError(where),
  UND_ERR_CLOSED: (where) => new ClientClosedError(where)
}
