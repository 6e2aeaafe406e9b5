import { VitalsError } from '@fastify-vitals/metrics'

/** What Fastify's error handling copies into the response. */
interface AcceptHeaders {
  readonly 'accept-encoding': string
}

/** The request body is encoded in a way that is not accepted here: 415 with what is. */
export class UnsupportedEncodingError extends VitalsError {
  readonly statusCode: number = 415
  readonly headers: AcceptHeaders

  constructor(accepted: readonly string[], maxEncodings: number) {
    const list = accepted.join(', ')
    super(
      'VITALS_REQUEST_ENCODING_UNSUPPORTED',
      `the Content-Encoding of the request is not supported; supported: ${list}, at most ${maxEncodings} on top of each other`
    )
    this.name = 'UnsupportedEncodingError'
    this.headers = { 'accept-encoding': list }
  }
}

/** The request body gets too large, or suspiciously much larger, when decoded: 413. */
export class DecodedBodyTooLargeError extends VitalsError {
  readonly statusCode: number = 413

  /** @param limit in words, such as `1048576 bytes` */
  constructor(limit: string) {
    super(
      'VITALS_REQUEST_BODY_TOO_LARGE',
      `the request body is larger than allowed once decoded: over ${limit}`
    )
    this.name = 'DecodedBodyTooLargeError'
  }
}

/** The request body is not what its `Content-Encoding` says: 400. */
export class CorruptBodyError extends VitalsError {
  readonly statusCode: number = 400

  constructor(encoding: string, cause: unknown) {
    super('VITALS_REQUEST_BODY_CORRUPT', `the request body is not valid ${encoding}`, { cause })
    this.name = 'CorruptBodyError'
  }
}
