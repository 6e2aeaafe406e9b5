import type { Faults } from './faults.ts'

/** Memory that is kept while the fault `leak` is on, up to its limit, and let go with it. */
export class Leak {
  readonly #faults: Faults
  #kept: Buffer[] = []
  #bytes = 0

  constructor(faults: Faults) {
    this.#faults = faults
    faults.onChange((name, isOn) => {
      if (name === 'leak' && !isOn) this.#letGo()
    })
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Keeps memory of one request, if the fault is on. */
  keep(): void {
    const parameters = this.#faults.get('leak')
    if (parameters === undefined) return
    const size = Math.floor(parameters.bytes_per_request!)
    if (this.#bytes + size > parameters.max_bytes!) return
    this.#kept.push(Buffer.alloc(size, 1))
    this.#bytes += size
  }

  #letGo(): void {
    this.#kept = []
    this.#bytes = 0
  }
}
