const SIZE_CLASSES = 32
const STEP = 0.05
const SMALL_STEP = 0.005

/**
 * Processor time of compressing, by size: learnt from what calls took, as nanoseconds a byte for each
 * power of two of sizes. Every call moves an estimate by a small step up or down, however far off it
 * was: so the estimate is a quantile, and calls that something interrupted don't pull it along.
 * Space: 256 bytes.
 */
export class CostEstimate {
  readonly #nsPerByte: Float64Array

  /** @param guessedNs nanoseconds a byte, until something was measured */
  constructor(guessedNs: number) {
    this.#nsPerByte = new Float64Array(SIZE_CLASSES).fill(guessedNs)
  }

  /** Milliseconds that compressing so many bytes is expected to take. */
  expectedMs(bytes: number): number {
    return (bytes * this.#nsPerByte[classOf(bytes)]!) / 1e6
  }

  /** Notes a call on this thread: half of them take longer than the estimate, half less. */
  observe(bytes: number, ms: number): void {
    this.#move(bytes, ms > this.expectedMs(bytes) ? STEP : -STEP)
  }

  /**
   * Notes a call in the thread pool. What passed there is the cost plus waiting for a thread and for
   * the event loop, so the estimate is what the quickest tenth takes.
   */
  observeWaiting(bytes: number, ms: number): void {
    this.#move(bytes, ms > this.expectedMs(bytes) ? SMALL_STEP : -STEP)
  }

  #move(bytes: number, step: number): void {
    this.#nsPerByte[classOf(bytes)]! *= 1 + step
  }
}

function classOf(bytes: number): number {
  return SIZE_CLASSES - 1 - Math.clz32(bytes | 1)
}
