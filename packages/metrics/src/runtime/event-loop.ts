import { performance } from 'node:perf_hooks'
import type { EventLoopUtilization } from 'node:perf_hooks'
import { LatencyHistogram } from '../latency-histogram.ts'

/** Forty looks a second: a block of 100 ms can't hide, and an idle process stays idle. */
const LOOK_EVERY_MS = 25

/** Event-loop delay and utilisation of the last interval. */
export interface LoopSample {
  /** Seconds. */
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Busy share of the interval, 0–1; not since the start of the process, which goes blind. */
  readonly utilisation: number
}

/**
 * Watches the event loop by how late a timer comes. Only `sample` ends an interval, never a reader:
 * two scrapers see the same.
 *
 * Node's `monitorEventLoopDelay` would do, but it skips the first interval after every reset, and
 * so misses a block that begins right then.
 */
export class EventLoopMonitor {
  last: LoopSample = { p50: 0, p99: 0, max: 0, utilisation: 0 }
  readonly #delays = new LatencyHistogram()
  readonly #timer: NodeJS.Timeout
  #utilisation: EventLoopUtilization = performance.eventLoopUtilization()
  #lookedMs: number = performance.now()

  constructor() {
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS)
    this.#timer.unref()
  }

  sample(): void {
    this.#look()
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, this.#utilisation)
    this.#utilisation = now
    this.last = {
      p50: this.#delays.quantile(0.5) ?? 0,
      p99: this.#delays.quantile(0.99) ?? 0,
      max: this.#delays.max,
      utilisation: utilization
    }
    this.#delays.reset()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const nowMs = performance.now()
    this.#delays.record(Math.max(0, nowMs - this.#lookedMs - LOOK_EVERY_MS) / 1000)
    this.#lookedMs = nowMs
  }
}
