import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { EventLoopUtilization, IntervalHistogram } from 'node:perf_hooks'

const RESOLUTION_MS = 10
/** A second is 1e9 ns, and the monitor's own timer takes a resolution to fire. */
const NS_PER_SECOND = 1e9
const OWN_DELAY_SECONDS = RESOLUTION_MS / 1000

/** Event-loop delay and utilisation of the last interval. */
export interface LoopSample {
  /** Seconds. */
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Busy share of the interval, 0–1; not since the start of the process, which goes blind. */
  readonly utilisation: number
}

const NOTHING: LoopSample = { p50: 0, p99: 0, max: 0, utilisation: 0 }

/**
 * Watches the event loop. Only `sample` ends an interval, never a reader: two scrapers see the same.
 */
export class EventLoopMonitor {
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  #utilisation: EventLoopUtilization = performance.eventLoopUtilization()
  last: LoopSample = NOTHING

  constructor() {
    this.#delay.enable()
  }

  sample(): void {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, this.#utilisation)
    this.#utilisation = now
    this.last =
      this.#delay.count === 0
        ? { ...NOTHING, utilisation: utilization }
        : {
            p50: lag(this.#delay.percentile(50)),
            p99: lag(this.#delay.percentile(99)),
            max: lag(this.#delay.max),
            utilisation: utilization
          }
    this.#delay.reset()
  }

  close(): void {
    this.#delay.disable()
  }
}

function lag(nanoseconds: number): number {
  return Math.max(0, nanoseconds / NS_PER_SECOND - OWN_DELAY_SECONDS)
}
