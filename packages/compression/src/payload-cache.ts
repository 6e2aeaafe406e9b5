import { digestOf, sampledHash } from './digest.ts'

const SLOTS = 4096
/** What an entry takes besides its bytes, about. */
const ENTRY_BYTES = 300
/** No entry may take more than this share of the whole. */
const LARGEST_SHARE = 0.25

interface Entry<Key> {
  readonly variants: Map<Key, Buffer>
  bytes: number
}

/** A body that the cache was asked for, to be stored by `keep`. */
export interface Sighting {
  readonly digest: string
  /** Seen before: worth keeping. */
  readonly isRepeated: boolean
}

/**
 * Compressed bodies by content. A body is kept when it is seen a second time, so that bodies that
 * never come again push nothing out and cost a glance only: a hash over 64 places of it. The least
 * recently used go first.
 *
 * Space: `maxBytes`, plus 32 KB for the memory of what was seen.
 */
export class PayloadCache<Key> {
  readonly #maxBytes: number
  /** Sampled hash of the body seen last at each slot, and the start of its digest once known. */
  readonly #sampled = new Uint32Array(SLOTS)
  readonly #digests = new Int32Array(SLOTS)
  readonly #entries = new Map<string, Entry<Key>>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#entries.size
  }

  /**
   * Looks whether a body was seen before.
   * @param digest if it is known already
   * @returns undefined when it certainly was not
   */
  sight(body: string | Buffer, digest?: string): Sighting | undefined {
    const sampled = sampledHash(body)
    const slot = sampled % SLOTS
    if (this.#sampled[slot] !== sampled) {
      this.#sampled[slot] = sampled
      this.#digests[slot] = 0
      return undefined
    }
    const known = digest ?? digestOf(body)
    return { digest: known, isRepeated: this.#entries.has(known) || this.#repeats(slot, known) }
  }

  /** Bodies that only differ between the sampled places share a slot: the digest must come twice. */
  #repeats(slot: number, digest: string): boolean {
    const start = startOf(digest)
    const before = this.#digests[slot]!
    this.#digests[slot] = start
    return before === 0 || before === start
  }

  get({ digest }: Sighting, key: Key): Buffer | undefined {
    const entry = this.#entries.get(digest)
    const found = entry?.variants.get(key)
    if (found === undefined) return undefined
    this.#entries.delete(digest)
    this.#entries.set(digest, entry!)
    return found
  }

  keep({ digest }: Sighting, key: Key, compressed: Buffer): void {
    if (compressed.length + ENTRY_BYTES > this.#maxBytes * LARGEST_SHARE) return
    const entry = this.#entries.get(digest) ?? { variants: new Map<Key, Buffer>(), bytes: 0 }
    if (entry.variants.has(key)) return
    // a copy of its own size: what zlib returns may be a small part of a large buffer
    entry.variants.set(key, Buffer.from(compressed))
    const added = compressed.length + (entry.bytes === 0 ? ENTRY_BYTES : 0)
    entry.bytes += added
    this.#bytes += added
    this.#entries.delete(digest)
    this.#entries.set(digest, entry)
    this.#evict()
  }

  clear(): void {
    this.#entries.clear()
    this.#sampled.fill(0)
    this.#digests.fill(0)
    this.#bytes = 0
  }

  #evict(): void {
    for (const [digest, { bytes }] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) return
      this.#entries.delete(digest)
      this.#bytes -= bytes
    }
  }
}

/** The first 30 bits of a digest and a bit that makes it not 0. */
function startOf(digest: string): number {
  let bits = 1
  for (let i = 0; i < 5; i++) bits = (bits * 64 + digest.charCodeAt(i)) | 0
  return bits | 1
}
