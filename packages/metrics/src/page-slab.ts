const PAGE_BITS = 6
const PAGE_SIZE = 1 << PAGE_BITS
const PAGES_PER_CHUNK = 64

/**
 * Pages of 64 counters of 16 bits, handed out one by one and taken back.
 *
 * One series touches few of the octaves of its scale, so it owns pages instead of a whole array;
 * and pages live in chunks of 8 KB because a typed array of its own would cost more than a page.
 * Page 0 is never handed out: it means "none".
 */
export class PageSlab {
  readonly chunks: Uint16Array[] = []
  #next = 1
  readonly #free: number[] = []

  /** @returns a page whose counters are all zero */
  allocate(): number {
    const page = this.#free.pop() ?? this.#next++
    const chunk = Math.floor(page / PAGES_PER_CHUNK)
    this.chunks[chunk] ??= new Uint16Array(PAGES_PER_CHUNK * PAGE_SIZE)
    return page
  }

  release(page: number): void {
    this.counters(page).fill(0)
    this.#free.push(page)
  }

  counters(page: number): Uint16Array {
    const start = (page % PAGES_PER_CHUNK) * PAGE_SIZE
    return this.chunks[Math.floor(page / PAGES_PER_CHUNK)]!.subarray(start, start + PAGE_SIZE)
  }

  /** Adds one to a counter. @returns true when it wrapped to zero, and 65 536 have to be carried */
  increment(page: number, offset: number): boolean {
    const chunk = this.chunks[page >>> PAGE_BITS]!
    const at = ((page & (PAGES_PER_CHUNK - 1)) << PAGE_BITS) | offset
    const next = chunk[at]! + 1
    chunk[at] = next
    return next === 65536
  }

  get(page: number, offset: number): number {
    return this.chunks[page >>> PAGE_BITS]![((page & (PAGES_PER_CHUNK - 1)) << PAGE_BITS) | offset]!
  }

  /** Bytes held, free pages included. */
  get bytes(): number {
    return this.chunks.length * PAGES_PER_CHUNK * PAGE_SIZE * 2
  }
}
