const MEMOIZED = 256
const LONGEST_MEMOIZED = 200

/** What is compressed unless told otherwise: text of all kinds, never bytes of an unknown kind. */
export const COMPRESSIBLE: readonly string[] = [
  'text/*',
  '*+json',
  '*+xml',
  'application/json',
  'application/javascript',
  'application/xml',
  'application/wasm',
  'font/otf',
  'font/ttf',
  'image/bmp'
]

/** Events have to arrive when they are sent, whatever the options say. */
const LIVE = 'text/event-stream'

/** Whether bodies of a `Content-Type` are compressed. Answers are remembered by header. */
export class ContentTypes {
  readonly #exact = new Set<string>()
  readonly #families = new Set<string>()
  readonly #suffixes = new Set<string>()
  readonly #memo = new Map<string, boolean>()

  /** @param patterns such as `application/json`, `text/*`, `*+json`; lower case */
  constructor(patterns: readonly string[]) {
    for (const pattern of patterns) {
      if (pattern.startsWith('*+')) this.#suffixes.add(pattern.slice(1))
      else if (pattern.endsWith('/*')) this.#families.add(pattern.slice(0, -1))
      else this.#exact.add(pattern)
    }
  }

  has(header: string): boolean {
    const known = this.#memo.get(header)
    if (known !== undefined) return known
    const answer = this.#judge(header)
    if (header.length <= LONGEST_MEMOIZED) {
      if (this.#memo.size >= MEMOIZED) this.#memo.clear()
      this.#memo.set(header, answer)
    }
    return answer
  }

  #judge(header: string): boolean {
    const type = mediaType(header)
    if (type === LIVE) return false
    const slash = type.indexOf('/')
    const plus = type.lastIndexOf('+')
    return (
      this.#exact.has(type) ||
      (slash > 0 && this.#families.has(type.slice(0, slash + 1))) ||
      (plus > slash && this.#suffixes.has(type.slice(plus)))
    )
  }
}

function mediaType(header: string): string {
  const semicolon = header.indexOf(';')
  return (semicolon === -1 ? header : header.slice(0, semicolon)).trim().toLowerCase()
}
