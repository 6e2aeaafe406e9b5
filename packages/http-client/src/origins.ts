import type { Blame } from './blame.ts'
import type { ResolvedClientOptions } from './option-types.ts'
import { Balancer } from './policies/balancer.ts'
import { OutlierEjection } from './policies/outlier-ejection.ts'
import type { Upstream } from './upstream.ts'

/** The origins of a client: who gets the next attempt, and who is out for a while. */
export class Origins {
  readonly list: readonly Upstream[]
  readonly #balancer: Balancer<Upstream>
  readonly #ejection: OutlierEjection | undefined

  constructor(
    upstreams: readonly Upstream[],
    { outlierEjection }: Pick<ResolvedClientOptions, 'outlierEjection'>,
    random: () => number
  ) {
    this.list = upstreams
    this.#balancer = new Balancer(upstreams, random)
    if (outlierEjection !== false && upstreams.length > 1) {
      this.#ejection = new OutlierEjection({ ...outlierEjection, origins: upstreams.length })
    }
  }

  /**
   * Who gets the next attempt; it counts as busy until `end`. When all are out or refuse, one of
   * them nonetheless: then its breaker says why not.
   * @param avoid index of the one that just failed or is late; -1 for none
   */
  begin(avoid: number, nowMs: number): Upstream {
    const index = this.list.length === 1 ? 0 : this.#pick(avoid, nowMs)
    this.#balancer.begin(index)
    return this.list[index]!
  }

  /** Whether one of them would take an attempt at once. */
  get hasRoom(): boolean {
    return this.list.some(({ slots }) => slots.hasRoom)
  }

  /** An attempt has ended. @returns whether its origin was taken out for it */
  end({ index }: Upstream, blame: Blame, nowMs: number): boolean {
    this.#balancer.end(index)
    if (blame === 'unknown') return false
    return this.#ejection?.record(index, blame === 'upstream', nowMs) === true
  }

  isEjected(index: number, nowMs: number): boolean {
    return this.#ejection?.isEjected(index, nowMs) === true
  }

  /** Those that wait are told, and nobody gets in any more. */
  refuse(): void {
    for (const { slots } of this.list) slots.close()
  }

  /** Until what is under way has ended. */
  async drain(): Promise<void> {
    await Promise.all(this.list.map((upstream) => upstream.drain()))
  }

  async destroy(): Promise<void> {
    await Promise.all(this.list.map((upstream) => upstream.destroy()))
  }

  #pick(avoid: number, nowMs: number): number {
    const { list } = this
    const isLettingIn = (index: number): boolean => list[index]!.isLettingIn
    const isGood = (index: number): boolean => !this.isEjected(index, nowMs) && isLettingIn(index)
    for (const isUsable of [isGood, isLettingIn, () => true]) {
      const index = this.#balancer.pick(isUsable, avoid)
      if (index !== -1) return index
    }
    return 0
  }
}
