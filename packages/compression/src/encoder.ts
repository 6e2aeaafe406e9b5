import type { Codec, Encoding, ZipStream } from './codecs.ts'
import { codecOf } from './codecs.ts'
import { CostEstimate } from './cost-estimate.ts'

/** One encoding at one level, with what it costs. Shared by all routes that use it. */
export class Encoder {
  readonly encoding: Encoding
  readonly level: number
  readonly cost: CostEstimate
  readonly #codec: Codec
  readonly #settings: object

  constructor(codec: Codec, level: number) {
    this.encoding = codec.encoding
    this.level = level
    this.cost = new CostEstimate(guessOf(codec, level))
    this.#codec = codec
    this.#settings = codec.settings(level)
  }

  compressSync(body: string | Buffer): Buffer {
    return this.#codec.compressSync(body, this.#settings)
  }

  compress(body: string | Buffer, done: (error: Error | null, result: Buffer) => void): void {
    this.#codec.compress(body, this.#settings, done)
  }

  stream(): ZipStream {
    return this.#codec.compressStream(this.#settings)
  }
}

function guessOf({ guessedNs }: Codec, level: number): number {
  return (guessedNs.find(([known]) => known >= level) ?? guessedNs.at(-1)!)[1]
}

/** The encoders in use, one for each encoding and level: as many as options name. */
export class Encoders {
  readonly #all = new Map<Encoding, Map<number, Encoder>>()

  of(encoding: Encoding, level: number): Encoder {
    let byLevel = this.#all.get(encoding)
    if (byLevel === undefined) {
      byLevel = new Map()
      this.#all.set(encoding, byLevel)
    }
    let encoder = byLevel.get(level)
    if (encoder === undefined) {
      encoder = new Encoder(codecOf(encoding), level)
      byLevel.set(level, encoder)
    }
    return encoder
  }

  /** The same encoding at the level that costs least, or lower. */
  cheapest({ encoding, level }: Encoder): Encoder {
    return this.of(encoding, Math.min(level, codecOf(encoding).cheapestLevel))
  }
}
