import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import type { Admission } from './admission.ts'
import type { Refusal } from './entrant.ts'
import type { GradientLimit } from './gradient-limit.ts'
import type { Guards } from './guards.ts'
import type { LoopWatch } from './loop-watch.ts'
import type { OverloadMetrics, Shown } from './overload-metrics.ts'
import type { Partition } from './partition.ts'
import type { Rank } from './priority.ts'
import type { Refusals } from './refusals.ts'
import { RequestEntrant } from './request-entrant.ts'
import type { Doorkeeper } from './request-entrant.ts'
import type { Saturation } from './saturation.ts'

/** Where a request belongs. */
export interface Place {
  readonly rank: Rank
  readonly partition: Partition
  /** Whether its latency teaches the limit. */
  readonly teaches: boolean
}

export interface OverloadParts {
  readonly admission: Admission
  readonly limit: GradientLimit
  readonly guards: Guards
  readonly loop: LoopWatch
  readonly saturation: Saturation
  readonly metrics: OverloadMetrics
  readonly refusals: Refusals
  readonly isDryRun: boolean
  /** How full the queues of the work pool are, 0–1. */
  readonly workRatio: () => number
  /** Monotonic milliseconds. */
  readonly now: () => number
}

/** Lets requests in, one hook a request, and looks after itself ten times a second. */
export class Overload implements Doorkeeper, Shown {
  readonly #parts: OverloadParts
  readonly #admission: Admission
  readonly #guards: Guards
  readonly #metrics: OverloadMetrics
  readonly #now: () => number
  #turnedAwayBefore = 0
  /** When somebody was turned away last, milliseconds since the epoch; 0: never. */
  turnedAwayAt = 0

  constructor(parts: OverloadParts) {
    this.#parts = parts
    this.#admission = parts.admission
    this.#guards = parts.guards
    this.#metrics = parts.metrics
    this.#now = parts.now
  }

  /** The hook of a route whose requests belong to `place`. */
  receive(
    { rank, partition, teaches }: Place,
    request: FastifyRequest,
    reply: FastifyReply,
    done: HookHandlerDoneFunction
  ): void {
    const nowMs = this.#now()
    const entrant = new RequestEntrant(rank, partition, nowMs, teaches, this, request, reply, done)
    if (this.#guards.pressure > 0 && this.#isShed(entrant)) return
    if (this.#parts.isDryRun) return this.#letIn(entrant, this.#admission.enterAnyway(entrant))
    if (this.#admission.enter(entrant)) return this.#letIn(entrant, true)
    entrant.watch()
    if (!this.#admission.wait(entrant)) entrant.refuse('full')
  }

  proceeded({ rank, arrivedMs, admittedMs }: RequestEntrant): void {
    this.#metrics.admitted(rank)
    this.#metrics.waited(admittedMs - arrivedMs)
  }

  refused(entrant: RequestEntrant, reason: Refusal): void {
    const { rank, arrivedMs, request, reply } = entrant
    entrant.isOver = true
    this.#metrics.count(rank, `refused_${reason}`)
    if (reason === 'late') this.#metrics.waited(this.#now() - arrivedMs)
    this.#parts.refusals.send(reason, request, reply)
  }

  ended(entrant: RequestEntrant): void {
    const nowMs = this.#now()
    if (entrant.isWaiting) {
      this.#admission.giveUp(entrant)
      this.#metrics.count(entrant.rank, 'abandoned')
      this.#metrics.waited(nowMs - entrant.arrivedMs)
    } else {
      this.#admission.leave(entrant, entrant.isSample, nowMs)
    }
  }

  /** Call ten times a second. */
  look(): void {
    const { loop, guards, saturation, metrics, workRatio } = this.#parts
    const nowMs = this.#now()
    loop.look(nowMs)
    this.#admission.giveBackLongLived(nowMs)
    guards.look()
    const isTurningAway = metrics.turnedAway > this.#turnedAwayBefore
    this.#turnedAwayBefore = metrics.turnedAway
    if (isTurningAway) this.turnedAwayAt = Date.now()
    const places = Math.max(this.inFlight / this.limit, workRatio())
    saturation.look(places, loop.utilisation, isTurningAway)
  }

  get parts(): OverloadParts {
    return this.#parts
  }

  get limit(): number {
    return this.#parts.limit.limit
  }

  get inFlight(): number {
    return this.#admission.inFlight
  }

  get waiting(): number {
    return this.#admission.waiting
  }

  get longLived(): number {
    return this.#admission.longLived
  }

  get saturationRatio(): number {
    return this.#parts.saturation.ratio
  }

  get pressure(): number {
    return this.#guards.pressure
  }

  #letIn(entrant: RequestEntrant, hadRoom: boolean): void {
    entrant.watch()
    this.#metrics.admitted(entrant.rank)
    if (!hadRoom) this.#metrics.count(entrant.rank, 'would_refuse')
    entrant.letIn()
    this.#admission.handled()
  }

  #isShed(entrant: RequestEntrant): boolean {
    if (!this.#guards.sheds(entrant.rank)) return false
    if (!this.#parts.isDryRun) {
      entrant.refuse('guard')
      return true
    }
    this.#metrics.count(entrant.rank, 'would_refuse')
    return false
  }
}
