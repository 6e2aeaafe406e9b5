import type { JobContext } from './work-types.ts'

/** A signal that is made when somebody asks for it: most jobs never do. */
export class LateSignal implements JobContext {
  #controller: AbortController | undefined
  #isAborted = false
  #reason: unknown

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#isAborted) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  abort(reason: unknown): void {
    this.#isAborted = true
    this.#reason = reason
    this.#controller?.abort(reason)
  }
}
