/** Share of its processor time that the process used, between two looks. */
export class CpuUsage {
  readonly #quotaCores: number
  readonly #now: () => number
  #lastMs: number
  #last = process.cpuUsage()
  /** Fraction of the quota used in the last interval; may pass 1 for a moment under a cgroup quota. */
  ratio = 0

  /** @param quotaCores cores that count as 100 % */
  constructor(quotaCores: number, now: () => number) {
    this.#quotaCores = quotaCores
    this.#now = now
    this.#lastMs = now()
  }

  /** Ends the interval. */
  sample(): void {
    const elapsedMs = this.#now() - this.#lastMs
    if (elapsedMs <= 0) return
    const { user, system } = process.cpuUsage(this.#last)
    this.ratio = (user + system) / 1000 / elapsedMs / this.#quotaCores
    this.#last = process.cpuUsage()
    this.#lastMs += elapsedMs
  }
}
