import { performance } from 'node:perf_hooks'
import type { EventLoopUtilization } from 'node:perf_hooks'

/** How late the event loop came in the last interval, and how busy it was. */
export class LoopWatch {
  /** How much later than asked for the last look came. */
  delayMs = 0
  /** Busy share of the last interval, 0–1: since the start of the process it would go blind. */
  utilisation = 0
  readonly #everyMs: number
  #lookedMs: number
  #before: EventLoopUtilization = performance.eventLoopUtilization()

  constructor(everyMs: number, nowMs: number) {
    this.#everyMs = everyMs
    this.#lookedMs = nowMs
  }

  /** Call every `everyMs`; how late the call comes is the delay. */
  look(nowMs: number): void {
    const now = performance.eventLoopUtilization()
    this.utilisation = performance.eventLoopUtilization(now, this.#before).utilization
    this.delayMs = Math.max(0, nowMs - this.#lookedMs - this.#everyMs)
    this.#before = now
    this.#lookedMs = nowMs
  }
}
