import type { Codec, Encoding, ZipStream } from './codecs.ts'
import { codecOf } from './codecs.ts'
import { CostEstimate } from './cost-estimate.ts'

/** One encoding at one level, with what it costs. Shared by all routes that use it. */
export class Encoder {
  readonly encoding: Encoding
  readonly level: number
  readonly cost: CostEstimate
  readonly #codec: Codec
  /** By the number of bits of a body's length. */
  readonly #settings: readonly object[]
  readonly #streamSettings: object

  constructor(codec: Codec, level: number) {
    this.encoding = codec.encoding
    this.level = level
    this.cost = new CostEstimate(guessOf(codec, level))
    this.#codec = codec
    this.#settings = Array.from({ length: 33 }, (_, bits) =>
      codec.settings(level, Math.max(0, 2 ** bits - 1))
    )
    this.#streamSettings = codec.settings(level, undefined)
  }

  /** @param bytes length of the body in bytes */
  compressSync(body: string | Buffer, bytes: number): Buffer {
    return this.#codec.compressSync(body, this.#settingsFor(bytes))
  }

  compress(
    body: string | Buffer,
    bytes: number,
    done: (error: Error | null, result: Buffer) => void
  ): void {
    this.#codec.compress(body, this.#settingsFor(bytes), done)
  }

  stream(): ZipStream {
    return this.#codec.compressStream(this.#streamSettings)
  }

  #settingsFor(bytes: number): object {
    return this.#settings[32 - Math.clz32(bytes)]!
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
