/** What the probes of a half-open circuit have shown; `undefined` while it is open. */
export type Verdict = 'passed' | 'failed' | undefined

/** The probes of one half-open period: so many calls at most, judged as soon as the end is certain. */
export class Trial {
  readonly #needed: number
  readonly #bearable: number
  #left: number
  #successes = 0
  #failures = 0

  /** @param successRatio share of the probes that must succeed, over 0 and up to 1 */
  constructor(probes: number, successRatio: number) {
    // a ratio such as 0.6 of 5 must not become 4 because of its last binary digit
    this.#needed = Math.max(1, Math.ceil(probes * successRatio - 1e-9))
    this.#bearable = probes - this.#needed
    this.#left = probes
  }

  get hasRoom(): boolean {
    return this.#left > 0
  }

  /** Lets a probe begin. Ask `hasRoom` first. */
  begin(): void {
    this.#left--
  }

  /** A probe that showed nothing: another one may begin in its place. */
  giveBack(): void {
    this.#left++
  }

  judge(isGood: boolean): Verdict {
    if (isGood) return ++this.#successes >= this.#needed ? 'passed' : undefined
    return ++this.#failures > this.#bearable ? 'failed' : undefined
  }
}
