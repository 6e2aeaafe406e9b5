import { gzipSync } from 'node:zlib'

const EVERY_MS = 30_000
const LONGEST_BYTES = 16_384
const SMOOTHING = 0.3

/**
 * Tries now and then what compression would save where it is not used: the start of one body every
 * 30 s, about 100 µs.
 */
export class Trial {
  readonly #now: () => number
  #lastMs = -Infinity
  #savedRatio: number | undefined

  /** @param now monotonic milliseconds */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Share of the bytes that gzip at its quickest would save; `undefined` before the first trial. */
  get savedRatio(): number | undefined {
    return this.#savedRatio
  }

  consider(body: string | Buffer, bytes: number): void {
    const nowMs = this.#now()
    if (bytes === 0 || nowMs - this.#lastMs < EVERY_MS) return
    this.#lastMs = nowMs
    const start = Buffer.from(body.slice(0, LONGEST_BYTES) as string)
    const saved = Math.max(0, 1 - gzipSync(start, { level: 1 }).length / start.length)
    this.#savedRatio =
      this.#savedRatio === undefined
        ? saved
        : this.#savedRatio + (saved - this.#savedRatio) * SMOOTHING
  }
}
