import { EventEmitter } from 'node:events'
import CircuitBreaker from 'opossum'

/** Longest time that a timer of Node can wait. */
export const FOREVER_MS: number = 2 ** 31 - 1

/** What opossum tells of each call; we tell it instead, and only while somebody listens. */
const CALL_EVENTS: readonly string[] = [
  'fire',
  'success',
  'failure',
  'timeout',
  'reject',
  'semaphoreLocked',
  'fallback'
]

/** opossum's circuit, whose listeners may throw without harm to calls, timers and other circuits. */
class UnbreakableCircuit extends CircuitBreaker {
  onListenerError: ((error: unknown) => void) | undefined

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    try {
      return super.emit(event, ...args)
    } catch (error) {
      this.onListenerError?.(error)
      return true
    }
  }
}

export interface CircuitParts {
  /** Called after opossum opened, closed or half-opened the circuit. */
  readonly onMove: () => void
  readonly onListenerError: (error: unknown) => void
}

/**
 * The circuit itself: closed, open, half-open, and the way from open to half-open after a time, kept
 * by opossum. When to open and to close it is decided elsewhere.
 */
export class Circuit {
  readonly opossum: CircuitBreaker
  /** Whether somebody listens to the events of calls. */
  isHeard = false

  constructor(name: string, parts: CircuitParts) {
    const options = {
      name,
      timeout: false as const,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rollingCountBuckets: 1,
      // one that never tells to rotate: opossum then sets no timer for its window, as ours is judged
      rotateBucketController: new EventEmitter()
    }
    const opossum = new UnbreakableCircuit(async () => {}, options)
    this.opossum = opossum
    opossum.onListenerError = parts.onListenerError
    // opossum's types know its own events only, one by one
    const events: EventEmitter = opossum
    for (const event of CALL_EVENTS) {
      // its own listeners count into the window that we don't use, and close at the first success;
      // something has to stay, as exporters look which events there are
      events.removeAllListeners(event)
      events.on(event, nothing)
    }
    events.on('newListener', (event: string | symbol) => {
      if (CALL_EVENTS.includes(String(event))) this.isHeard = true
    })
    for (const event of ['open', 'close', 'halfOpen']) events.on(event, parts.onMove)
  }

  /** Opens, and half-opens after `ms`. Nothing happens when it is open already. */
  open(ms: number): void {
    // opossum reads this when it opens; its types say nothing of it
    ;(this.opossum as unknown as { options: { resetTimeout: number } }).options.resetTimeout = ms
    this.opossum.open()
  }

  /** @param isJudging false while all calls are let through whatever they do */
  close(isJudging: boolean): void {
    this.opossum.close()
    if (isJudging) this.opossum.enable()
    else this.opossum.disable()
  }

  get state(): 'closed' | 'open' | 'half_open' {
    if (this.opossum.closed) return 'closed'
    return this.opossum.halfOpen ? 'half_open' : 'open'
  }

  /** Tells a call to whoever listens, as opossum would. */
  tell(event: string, ...details: unknown[]): void {
    this.opossum.emit(event, ...details)
  }

  /** Stops its timer and lets its listeners go. */
  shutDown(): void {
    this.opossum.shutdown()
  }
}

function nothing(): void {}
