import { RetryBudget } from './policies/retry-budget.ts'
import type { RetryBudgetOptions } from './policies/retry-budget.ts'

const WINDOW_SECONDS = 10

/**
 * A budget in which `minPerSecond` is a floor, and not added to the share: a client of few calls has
 * some retries, and one of many never more than its share.
 */
export class CallBudget extends RetryBudget {
  /** Nothing is ever taken from it: its balance is what the share alone earned. */
  readonly #earned: RetryBudget
  readonly #floor: number

  constructor(options: RetryBudgetOptions) {
    super(options)
    this.#earned = new RetryBudget({ ratio: options.ratio, minPerSecond: 0 })
    this.#floor = options.minPerSecond * WINDOW_SECONDS
  }

  override deposit(nowMs: number): void {
    super.deposit(nowMs)
    this.#earned.deposit(nowMs)
  }

  /** The larger of the two, less what was taken. */
  override balance(nowMs: number): number {
    return super.balance(nowMs) - Math.min(this.#earned.balance(nowMs), this.#floor)
  }
}
