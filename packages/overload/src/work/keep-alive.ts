const LONGEST_MS = 2 ** 31 - 1

/** Keeps the process alive while somebody holds it. */
export class KeepAlive {
  #holders = 0
  #timer: NodeJS.Timeout | undefined

  hold(): void {
    if (this.#holders++ === 0) this.#timer = setInterval(() => {}, LONGEST_MS)
  }

  release(): void {
    if (--this.#holders === 0) clearInterval(this.#timer)
  }
}
