import type { Breakdown } from './breakdown.ts'

/** One of the slowest requests of an endpoint. No URL, no parameters: only what is safe to show. */
export interface WorstRequest {
  readonly requestId: string
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly durationMs: number
  readonly status: number
  readonly breakdown: Breakdown
}

const KEEP_MS = 3_600_000

/** The `size` slowest requests of the last hour, slowest first. */
export class WorstRequests {
  /** Milliseconds that a request must pass to belong here. */
  floorMs: number
  readonly #size: number
  #requests: WorstRequest[] = []

  constructor(size: number) {
    this.#size = size
    this.floorMs = size === 0 ? Infinity : 0
  }

  add(request: WorstRequest): void {
    if (this.#size === 0) return
    this.#requests.push(request)
    this.#requests.sort((a, b) => b.durationMs - a.durationMs)
    this.#requests.length = Math.min(this.#requests.length, this.#size)
    this.#setFloor()
  }

  get list(): readonly WorstRequest[] {
    return this.#requests
  }

  /** Forgets those that began more than an hour before `nowMs`, in milliseconds since 1970. */
  expire(nowMs: number): void {
    this.#requests = this.#requests.filter((request) => nowMs - request.startedAt < KEEP_MS)
    this.#setFloor()
  }

  clear(): void {
    this.#requests = []
    this.#setFloor()
  }

  #setFloor(): void {
    if (this.#size === 0) return
    const full = this.#requests.length === this.#size
    this.floorMs = full ? this.#requests.at(-1)!.durationMs : 0
  }
}
