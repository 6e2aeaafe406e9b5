import { Readable } from 'node:stream'
import type { CallBody } from './call-types.ts'
import { CallInvalidError } from './errors.ts'
import type { Whereabouts } from './errors.ts'

/** What undici would take, but not send as anybody means it: forms, which are not its own. */
const ALLOWED = 'text, bytes, a Readable or async iterable of these, or a function that makes one'

/** @throws TypeError for what can't be sent */
export function checkBody(body: unknown): void {
  if (body === undefined || body === null || typeof body === 'string') return
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer || isStream(body)) return
  const type = Object.prototype.toString.call(body).slice('[object '.length, -1)
  throw new TypeError(`body must be ${ALLOWED}, got ${type}`)
}

/** Closes a body that nobody will send, if it is a stream. */
export function dropBody(body: unknown): void {
  if (body instanceof Readable && !body.destroyed) body.on('error', () => {}).destroy()
}

/** The body of an attempt, which tells its own failures from those of the connection. */
export class RequestBody {
  /** To be sent. */
  readonly content: CallBody | undefined
  readonly #given: CallBody | undefined
  #error: unknown

  /** @throws TypeError for what can't be sent */
  constructor(given: CallBody | undefined) {
    checkBody(given)
    this.#given = given
    // while it waits to be sent nobody else listens, and its error would end the process
    if (given instanceof Readable) given.on('error', () => {})
    this.content = isStream(given) && !(given instanceof Readable) ? this.#watched(given) : given
  }

  /** @throws what the function throws; CallInvalidError for what can't be sent */
  static async made(
    make: () => CallBody | Promise<CallBody>,
    where: Whereabouts
  ): Promise<RequestBody> {
    const given = await make()
    try {
      return new RequestBody(given)
    } catch (error) {
      throw new CallInvalidError((error as Error).message, where, error)
    }
  }

  /** What it failed with by itself; `undefined` as long as it has not. */
  get failure(): unknown {
    return this.#given instanceof Readable ? (this.#given.errored ?? undefined) : this.#error
  }

  drop(): void {
    dropBody(this.#given)
  }

  async *#watched(chunks: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array | string> {
    try {
      yield* chunks
    } catch (error) {
      this.#error = error
      throw error
    }
  }
}

function isStream(body: unknown): body is AsyncIterable<Uint8Array | string> {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body
}
