import { WaitQueue } from './wait-queue.ts'

/** A group of requests with a guaranteed share of the limit. */
export class Partition {
  readonly name: string
  /** 0–1 */
  readonly share: number
  inFlight = 0
  readonly queue: WaitQueue = new WaitQueue()

  constructor(name: string, share: number) {
    this.name = name
    this.share = share
  }

  /** Whether it uses less than it is guaranteed of so many places. */
  isUnderShare(limit: number): boolean {
    return this.inFlight < this.share * limit
  }
}
