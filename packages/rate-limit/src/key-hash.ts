import { createHash, randomInt } from 'node:crypto'

/** Longer keys are put through SHA-256 first, which is native and takes a megabyte in a millisecond. */
const LONGEST_MIXED = 512
const UINT32 = 2 ** 32

/**
 * Turns keys into 64 bits in two halves, `high` and `low`, which are valid until the next call: no
 * allocation. Seeded at random, so that nobody outside can look for keys that share their bits.
 *
 * The mixing is two lanes of the body and the finaliser of MurmurHash3.
 * @see https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp
 */
export class KeyHash {
  high = 0
  low = 0
  readonly #seed: number

  constructor(seed: number = randomInt(UINT32)) {
    this.#seed = seed
  }

  /** @param space keys of different spaces never meet, even when they read the same */
  of(space: number, key: string): void {
    const text = key.length > LONGEST_MIXED ? createHash('sha256').update(key).digest('hex') : key
    let high = (this.#seed ^ Math.imul(space + 1, 0x9e3779b1)) | 0
    let low = Math.imul(high ^ text.length, 0x85ebca6b)
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      high = Math.imul(high ^ code, 0xcc9e2d51)
      high = (high << 15) | (high >>> 17)
      low = Math.imul(low ^ code, 0x1b873593)
      low = (low << 13) | (low >>> 19)
    }
    this.high = mixed(high)
    this.low = mixed(low ^ this.high)
  }
}

function mixed(half: number): number {
  let bits = half ^ (half >>> 16)
  bits = Math.imul(bits, 0x85ebca6b)
  bits ^= bits >>> 13
  bits = Math.imul(bits, 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}
