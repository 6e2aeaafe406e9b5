const CHUNK_BYTES = 64 * 1024
const MAX_NUMBER_BYTES = 32
const NEWLINE = 10
const ZERO = 48
const MAX_SMALL = 2 ** 30

/**
 * Writes text into chunks of bytes. Numbers are written digit by digit and repeated prefixes are
 * copied as bytes, which makes a scrape several times cheaper than joining strings.
 */
export class TextWriter {
  #chunk: Buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  #at = 0
  #full: Buffer[] = []

  /** Chunks that are finished; the writer forgets them. */
  takeFull(): Buffer[] {
    const full = this.#full
    this.#full = []
    return full
  }

  /** Everything not yet taken. */
  takeAll(): Buffer[] {
    this.#close()
    return this.takeFull()
  }

  /** Position of the next byte in the current chunk. */
  get at(): number {
    return this.#at
  }

  /** Makes room for `bytes` in the current chunk, so that `copy` may refer to what comes next. */
  reserve(bytes: number): void {
    if (this.#at + bytes <= this.#chunk.length) return
    this.#close()
    if (bytes > CHUNK_BYTES) this.#chunk = Buffer.allocUnsafeSlow(bytes)
  }

  text(text: string): void {
    this.reserve(text.length * 3)
    this.#at += this.#chunk.write(text, this.#at)
  }

  /**
   * Lines that differ only in their end: each repeats the bytes of the current chunk from `from` to
   * `to`, and goes on with its own bytes and the sum of the counts so far. The first one is begun.
   * The caller has reserved the room.
   *
   * @returns the sum of all counts
   */
  cumulativeLines(
    from: number,
    to: number,
    ends: readonly Uint8Array[],
    counts: readonly number[]
  ): number {
    let total = 0
    for (let i = 0; i < ends.length; i++) {
      if (i > 0) this.repeat(from, to)
      this.short(ends[i]!)
      total += counts[i]!
      this.numberLine(total)
    }
    return total
  }

  /** Repeats bytes of the current chunk; the caller has reserved the room. */
  repeat(from: number, to: number): void {
    this.#chunk.copyWithin(this.#at, from, to)
    this.#at += to - from
  }

  /** A few bytes, one by one: for so few a call of `set` costs more. The caller has reserved them. */
  short(bytes: Uint8Array): void {
    const chunk = this.#chunk
    let at = this.#at
    for (let i = 0; i < bytes.length; i++) chunk[at++] = bytes[i]!
    this.#at = at
  }

  /** A number and the end of its line. */
  numberLine(value: number): void {
    this.reserve(MAX_NUMBER_BYTES)
    if (Number.isSafeInteger(value) && value >= 0) this.#integer(value)
    else this.#ascii(formatNumber(value))
    this.#chunk[this.#at++] = NEWLINE
  }

  #ascii(text: string): void {
    for (let i = 0; i < text.length; i++) this.#chunk[this.#at++] = text.charCodeAt(i)
  }

  #integer(value: number): void {
    if (value > MAX_SMALL) {
      this.#ascii(String(value))
      return
    }
    let digits = 1
    for (let limit = 10; limit <= value; limit *= 10) digits++
    let rest = value | 0
    for (let at = this.#at + digits - 1; at >= this.#at; at--) {
      const next = (rest / 10) | 0
      this.#chunk[at] = ZERO + rest - next * 10
      rest = next
    }
    this.#at += digits
  }

  #close(): void {
    if (this.#at === 0) return
    this.#full.push(this.#chunk.subarray(0, this.#at))
    this.#chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
    this.#at = 0
  }
}

/** A number as Prometheus reads it. */
export function formatNumber(value: number): string {
  if (value === Infinity) return '+Inf'
  return value === -Infinity ? '-Inf' : String(value)
}

/** Escapes a label's value for the text formats. */
export function escapeLabel(value: string): string {
  if (!/[\\"\n]/.test(value)) return value
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

/** Escapes a help text; OpenMetrics wants quotes escaped too. */
export function escapeHelp(help: string, quotes: boolean): string {
  const escaped = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  return quotes ? escaped.replaceAll('"', '\\"') : escaped
}

/** `name="value",…` without braces. */
export function labelText(names: readonly string[], values: readonly string[]): string {
  return names.map((name, i) => `${name}="${escapeLabel(values[i]!)}"`).join(',')
}
