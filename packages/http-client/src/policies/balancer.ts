/**
 * Spreads calls over origins by what each has under way: of two chosen at random, the less busy
 * one ("power of two choices"). Close to always taking the least busy, without the herd that runs
 * to the one which looks idle because it fails fast or has just come back.
 *
 * Time: one pass over the origins a pick. Space: 8 bytes an origin.
 * @see Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001
 */
export class Balancer<O> {
  readonly origins: readonly O[]
  readonly #random: () => number
  readonly #outstanding: Uint32Array
  /** Of the pick just being made. */
  readonly #candidates: Uint32Array

  /** @param random from 0 to below 1 */
  constructor(origins: readonly O[], random: () => number = Math.random) {
    this.origins = [...origins]
    this.#random = random
    this.#outstanding = new Uint32Array(origins.length)
    this.#candidates = new Uint32Array(origins.length)
  }

  /**
   * @param isUsable whether an origin may be taken, such as: it is not ejected, its breaker is not open
   * @param avoid taken only when no other is usable: the origin that just failed, or is being hedged
   * @returns index of an origin; -1 when none is usable. It does not count as busy until {@link begin}.
   */
  pick(isUsable: (index: number) => boolean, avoid: number = -1): number {
    let found = 0
    for (let index = 0; index < this.#candidates.length; index++) {
      if (index !== avoid && isUsable(index)) this.#candidates[found++] = index
    }
    if (found === 0)
      return avoid >= 0 && avoid < this.origins.length && isUsable(avoid) ? avoid : -1
    return found === 1 ? this.#candidates[0]! : this.#lessBusyOfTwo(found)
  }

  /** A call to this origin starts. */
  begin(index: number): void {
    this.#outstanding[index]!++
  }

  /** It has ended, however. Exactly once for each {@link begin}. */
  end(index: number): void {
    if (this.outstanding(index) > 0) this.#outstanding[index]!--
  }

  /** Calls under way. */
  outstanding(index: number): number {
    return this.#outstanding[index] ?? 0
  }

  #lessBusyOfTwo(found: number): number {
    const one = Math.floor(this.#random() * found)
    // of the rest, so that it is another
    const step = 1 + Math.floor(this.#random() * (found - 1))
    const first = this.#candidates[one]!
    const second = this.#candidates[(one + step) % found]!
    return this.#outstanding[second]! < this.#outstanding[first]! ? second : first
  }
}
