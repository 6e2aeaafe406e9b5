import { RetryBudget } from './policies/retry-budget.ts'
import type { RetryBudgetOptions } from './policies/retry-budget.ts'

const WINDOW_SECONDS = 10

/**
 * A budget in which `minPerSecond` is a floor, and not added to the share: a client of few calls has
 * some retries, lent to it, and one that becomes busy pays them back out of its share. So n calls that
 * come at a rate which earns the floor and more are, with all their retries, at most n * (1 + ratio).
 */
export class CallBudget extends RetryBudget {
  readonly #lent: RetryBudget
  /** Nothing is ever taken from it: its balance is what the share alone earned. */
  readonly #earned: RetryBudget
  readonly #floor: number
  #owed = 0

  constructor({ ratio, minPerSecond }: RetryBudgetOptions) {
    super({ ratio, minPerSecond: 0 })
    this.#lent = new RetryBudget({ ratio: 0, minPerSecond })
    this.#earned = new RetryBudget({ ratio, minPerSecond: 0 })
    this.#floor = minPerSecond * WINDOW_SECONDS
  }

  override deposit(nowMs: number): void {
    super.deposit(nowMs)
    this.#earned.deposit(nowMs)
  }

  override withdraw(nowMs: number): boolean {
    while (this.#owed > 0 && super.withdraw(nowMs)) this.#owed--
    if (super.withdraw(nowMs)) return true
    if (this.#earned.balance(nowMs) >= this.#floor || !this.#lent.withdraw(nowMs)) return false
    this.#owed = Math.min(this.#owed + 1, Math.ceil(this.#floor))
    return true
  }
}
