import type { Encoder } from './encoder.ts'
import type { PayloadCache, Sighting } from './payload-cache.ts'

/** Larger bodies are never compressed on this thread, however quick it is thought to be. */
const MOST_SYNC_BYTES = 65_536

export interface CompressorParts {
  /** Longest time that compressing one body may hold the event loop. */
  readonly maxSyncMs: number
  /** Bodies in the thread pool at once, those that wait for a thread included. */
  readonly maxPending: number
  readonly cache: PayloadCache<Encoder> | undefined
  /** Cores that the threads of the pool share. */
  readonly cores: number
  /** Monotonic milliseconds. */
  readonly now: () => number
}

/** What became of a body. `cpuMs` is 0 when it came from the cache. */
export interface Compressed {
  readonly body: Buffer
  readonly cpuMs: number
  readonly isCached: boolean
}

type Done = (error: Error | null, result: Compressed | undefined) => void

/**
 * Compresses whole bodies: from the cache, else at once when that is short (a thread's turn costs
 * 60–100 µs of processor time, 50 of them on this thread, so below that the pool gains nothing),
 * else in the thread pool.
 */
export class Compressor {
  readonly #parts: CompressorParts
  #pending = 0

  constructor(parts: CompressorParts) {
    this.#parts = parts
  }

  /** Whether one more body would wait too long for a thread. */
  get isFull(): boolean {
    return this.#pending >= this.#parts.maxPending
  }

  get pending(): number {
    return this.#pending
  }

  /**
   * @param wanted how to compress; a cached body of this one is taken in any case
   * @param actual how to do it now, while the process is busy
   * @param sighting of the body by the cache, if it may come from there and be kept
   */
  compress(
    body: string | Buffer,
    bytes: number,
    wanted: Encoder,
    actual: Encoder,
    sighting: Sighting | undefined,
    done: Done
  ): void {
    const cached = sighting === undefined ? undefined : this.#cached(sighting, wanted, actual)
    if (cached !== undefined) return done(null, { body: cached, cpuMs: 0, isCached: true })
    const finish: Done = (error, result) => {
      if (result !== undefined && sighting?.isRepeated === true) {
        this.#parts.cache?.keep(sighting, actual, result.body)
      }
      done(error, result)
    }
    if (this.#isShort(bytes, actual)) this.#now(body, bytes, actual, finish)
    else this.#inPool(body, bytes, actual, finish)
  }

  #cached(sighting: Sighting, wanted: Encoder, actual: Encoder): Buffer | undefined {
    const { cache } = this.#parts
    const found = cache?.get(sighting, wanted)
    return found ?? (wanted === actual ? undefined : cache?.get(sighting, actual))
  }

  #isShort(bytes: number, { cost }: Encoder): boolean {
    return bytes <= MOST_SYNC_BYTES && cost.expectedMs(bytes) <= this.#parts.maxSyncMs
  }

  #now(body: string | Buffer, bytes: number, encoder: Encoder, done: Done): void {
    const { now } = this.#parts
    const startMs = now()
    let compressed: Buffer
    try {
      compressed = encoder.compressSync(body, bytes)
    } catch (error) {
      return done(error as Error, undefined)
    }
    const cpuMs = now() - startMs
    encoder.cost.observe(bytes, cpuMs)
    done(null, { body: compressed, cpuMs, isCached: false })
  }

  #inPool(body: string | Buffer, bytes: number, encoder: Encoder, done: Done): void {
    const { now, cores } = this.#parts
    const startMs = now()
    const before = ++this.#pending
    encoder.compress(body, bytes, (error, compressed) => {
      const after = this.#pending--
      if (error !== null) return done(error, undefined)
      // so many of ours shared each core meanwhile
      const sharing = Math.max(1, (before + after) / 2 / cores)
      encoder.cost.observeWaiting(bytes, (now() - startMs) / sharing)
      done(null, { body: compressed, cpuMs: encoder.cost.expectedMs(bytes), isCached: false })
    })
  }
}
