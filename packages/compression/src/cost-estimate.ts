const SIZE_CLASSES = 32
const SMOOTHING = 0.2
/** A call that took so many times longer than expected was interrupted: it counts as so much. */
const HIGHEST_SURPRISE = 4
const TOWARDS_LOWER = 0.25
const DRIFT = 0.02

/**
 * Processor time of compressing, by size: learnt from what calls took, as nanoseconds a byte for each
 * power of two of sizes. Space: 256 bytes.
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

  /** Notes a call on this thread: what passed is what it cost, but for interruptions. */
  observe(bytes: number, ms: number): void {
    const at = classOf(bytes)
    const known = this.#nsPerByte[at]!
    const seen = Math.min((ms * 1e6) / bytes, known * HIGHEST_SURPRISE)
    this.#nsPerByte[at] = known + (seen - known) * SMOOTHING
  }

  /**
   * Notes a call in the thread pool. What passed there is the cost plus waiting for a thread and for
   * the event loop, so the estimate follows the quickest calls: down at once, up slowly.
   */
  observeWaiting(bytes: number, ms: number): void {
    const at = classOf(bytes)
    const known = this.#nsPerByte[at]!
    const seen = (ms * 1e6) / bytes
    this.#nsPerByte[at] =
      seen < known ? known + (seen - known) * TOWARDS_LOWER : Math.min(seen, known * (1 + DRIFT))
  }
}

function classOf(bytes: number): number {
  return SIZE_CLASSES - 1 - Math.clz32(bytes | 1)
}
