import type { Entrant, Refusal } from './entrant.ts'
import type { GradientLimit } from './gradient-limit.ts'
import { Lane } from './lane.ts'
import type { Partition } from './partition.ts'
import { Patience } from './patience.ts'
import type { PatienceOptions } from './patience.ts'
import { LOWEST } from './priority.ts'
import { Turn, WORTH_MS } from './turn.ts'

export interface AdmissionOptions extends PatienceOptions {
  readonly maxQueueLength: number
  /** Handlers may run so long one after the other before the sockets are looked at again. */
  readonly turnMs: number
  /** An answer that goes on for longer gives its place back: it is a stream. */
  readonly longLivedMs: number
}

/** What an admission stands on; tests bring a clock and turns of their own. */
export interface AdmissionParts {
  readonly limit: GradientLimit
  readonly partitions: readonly Partition[]
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Calls back after the sockets were looked at. */
  readonly soon: (callback: () => void) => void
  /** Whether a connection was accepted since it was asked last. */
  readonly hasNews: () => boolean
  /** Calls back after some milliseconds; asked for one at a time. */
  readonly later: (callback: () => void, ms: number) => void
}

/**
 * Lets in as many at once as the limit says, lets some wait, and turns the others away.
 *
 * Who waits is let in after the sockets were looked at, a few milliseconds' worth at a time: so all
 * that came meanwhile is known, and the most important goes first, however long handlers block.
 */
export class Admission {
  inFlight = 0
  waiting = 0
  /** Streams that have given their place back. */
  longLived = 0
  readonly patience: Patience
  readonly #options: AdmissionOptions
  readonly #parts: AdmissionParts
  readonly #limit: GradientLimit
  readonly #turn: Turn
  readonly #inside = new Lane()
  #dispatchedMs = -Infinity
  #isScheduled = false
  #isTimed = false

  constructor(options: AdmissionOptions, parts: AdmissionParts) {
    this.#options = options
    this.#parts = parts
    this.#limit = parts.limit
    this.#turn = new Turn(options.turnMs)
    this.patience = new Patience(options)
  }

  /** Lets it in at once, if nothing speaks against it. Otherwise ask `wait`. */
  enter(entrant: Entrant): boolean {
    const isOver = this.#turn.isOver(entrant.arrivedMs)
    if (isOver || this.waiting > 0 || !this.#hasRoom(entrant.partition)) return false
    this.#admit(entrant, entrant.arrivedMs)
    return true
  }

  /** Lets it in whatever speaks against it. @returns whether something did */
  enterAnyway(entrant: Entrant): boolean {
    const hadRoom = this.#hasRoom(entrant.partition)
    if (!hadRoom) this.#limit.holdBack()
    this.#admit(entrant, entrant.arrivedMs)
    return hadRoom
  }

  /** The handler of one that got in at once has returned, or waits for something. */
  handled(): void {
    const { latencyMs } = this.#limit
    // those that take so little are not held back by turns, so when they end need not be known
    if (latencyMs === 0 || latencyMs >= WORTH_MS) this.#turn.worked(this.#parts.now())
  }

  /**
   * Lets it wait, until `proceed` or `refuse` of it is called.
   * @returns false when there is no place for it
   */
  wait(entrant: Entrant): boolean {
    this.patience.look(this.waiting === 0, entrant.arrivedMs)
    const hasRoom = this.#hasRoom(entrant.partition)
    if (!hasRoom) this.#limit.holdBack()
    if (this.waiting >= this.#options.maxQueueLength && !this.#makePlace(entrant)) return false
    entrant.partition.queue.add(entrant)
    this.waiting++
    if (hasRoom) this.#schedule()
    this.#setTimer()
    return true
  }

  /** One that waits goes away by itself. */
  giveUp(entrant: Entrant): void {
    entrant.partition.queue.remove(entrant)
    this.waiting--
  }

  /**
   * One that was let in is done.
   * @param isSample whether its time tells something about the limit
   */
  leave(entrant: Entrant, isSample: boolean, nowMs: number): void {
    this.#turn.see(nowMs)
    if (!entrant.isInside) {
      this.longLived--
      return
    }
    if (isSample) this.#limit.record(entrant.admittedMs, this.inFlight, nowMs)
    this.#giveBack(entrant)
  }

  /**
   * Takes the places of long streams back, or a few idle ones would shut out everybody. Call now
   * and then.
   */
  giveBackLongLived(nowMs: number): void {
    const beforeMs = nowMs - this.#options.longLivedMs
    let entrant = this.#inside.oldest
    while (entrant !== undefined && entrant.admittedMs < beforeMs) {
      const { newer } = entrant
      if (entrant.isAnswering) {
        this.#giveBack(entrant)
        this.longLived++
      }
      entrant = newer
    }
  }

  #giveBack(entrant: Entrant): void {
    entrant.isInside = false
    this.#inside.remove(entrant)
    this.inFlight--
    entrant.partition.inFlight--
    if (this.waiting > 0) this.#schedule()
  }

  #hasRoom(partition: Partition): boolean {
    const { limit } = this.#limit
    return this.inFlight < limit || partition.isUnderShare(limit)
  }

  #admit(entrant: Entrant, nowMs: number): void {
    this.#turn.begin()
    entrant.admittedMs = nowMs
    entrant.isInside = true
    this.#inside.add(entrant)
    this.inFlight++
    entrant.partition.inFlight++
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#parts.soon(this.#dispatch)
  }

  readonly #dispatch = (): void => {
    this.#isScheduled = false
    const { now } = this.#parts
    const startMs = now()
    // Node accepts one connection each time it looks at the sockets. If handlers ran in between, new
    // ones would wait for seconds, unseen, until their clients give up and try again with new ones.
    if (this.#parts.hasNews() && startMs - this.#dispatchedMs < this.#options.turnMs) {
      this.#schedule()
      return
    }
    this.patience.look(this.waiting === 0, startMs)
    this.#refuseLate(startMs, this.#options.maxWaitMs, 0)
    let nowMs = startMs
    let entrant = this.#take()
    while (entrant !== undefined) {
      this.#admit(entrant, nowMs)
      entrant.proceed()
      nowMs = now()
      entrant = nowMs - startMs < this.#options.turnMs ? this.#take() : undefined
    }
    this.#dispatchedMs = nowMs
    this.#turn.worked(nowMs)
    this.patience.look(this.waiting === 0, nowMs)
    this.#refuseLate(nowMs, this.patience.longestWaitMs, 1)
    if (this.waiting > 0 && this.#parts.partitions.some((each) => this.#canTakeFrom(each))) {
      this.#schedule()
    }
  }

  #canTakeFrom(partition: Partition): boolean {
    return partition.queue.length > 0 && this.#hasRoom(partition)
  }

  /** Takes out whose turn it is: those within their guaranteed share first. */
  #take(): Entrant | undefined {
    if (this.waiting === 0) return undefined
    const { limit } = this.#limit
    let best = this.#mostImportant((each) => each.isUnderShare(limit))
    if (best === undefined && this.inFlight < limit) best = this.#mostImportant(() => true)
    const entrant = best?.queue.take(this.patience.isStanding)
    if (entrant !== undefined) this.waiting--
    return entrant
  }

  #mostImportant(isFit: (partition: Partition) => boolean): Partition | undefined {
    let best: Partition | undefined
    let bestRank = LOWEST + 1
    for (const partition of this.#parts.partitions) {
      const rank = partition.queue.bestRank
      if (rank >= bestRank || !isFit(partition)) continue
      best = partition
      bestRank = rank
    }
    return best
  }

  /** Turns somebody away who is less important. @returns false when nobody is */
  #makePlace(newcomer: Entrant): boolean {
    let victim: Partition | undefined
    for (const each of this.#parts.partitions) {
      const rank = each.queue.worstRank
      const worst = victim?.queue.worstRank ?? -1
      const isLonger = each.queue.length > (victim?.queue.length ?? 0)
      if (rank > worst || (rank === worst && isLonger)) victim = each
    }
    if (victim === undefined || victim.queue.worstRank < newcomer.rank) return false
    const isEqual = victim.queue.worstRank === newcomer.rank && victim === newcomer.partition
    if (isEqual && !this.patience.isStanding) return false
    this.#refuse(victim.queue.takeLeast(), 'full')
    return true
  }

  #refuse(entrant: Entrant | undefined, reason: Refusal): void {
    if (entrant === undefined) return
    this.waiting--
    entrant.refuse(reason)
  }

  /** @param spared so many are left, so that there is work when nobody new comes */
  #refuseLate(nowMs: number, longestMs: number, spared: number): void {
    for (const { queue } of this.#parts.partitions) {
      while (queue.length > spared) {
        const entrant = queue.takeLate(nowMs - longestMs)
        if (entrant === undefined) break
        this.#refuse(entrant, 'late')
      }
    }
  }

  #setTimer(): void {
    if (this.#isTimed) return
    this.#isTimed = true
    this.#parts.later(this.#sweep, this.patience.longestWaitMs / 4)
  }

  readonly #sweep = (): void => {
    this.#isTimed = false
    const nowMs = this.#parts.now()
    this.patience.look(this.waiting === 0, nowMs)
    this.#refuseLate(nowMs, this.patience.longestWaitMs, 1)
    this.#refuseLate(nowMs, this.#options.maxWaitMs, 0)
    if (this.waiting > 0) this.#setTimer()
  }
}
