import type { TSchema } from 'typebox'
import { VitalsDeclarationError } from './errors.ts'
import type { Window } from './history/window.ts'

export type Severity = 'low' | 'medium' | 'high' | 'critical'

/** What a detector has found wrong: what, where, how bad, by what proof, and what to do. */
export interface Finding {
  /** Kind of trouble, such as `high_error_rate`. */
  readonly type: string
  readonly severity: Severity
  /** Where it shows, such as `GET /orders/:id`; left out when it is the whole process. */
  readonly route?: string
  /** One sentence: the cause as far as it is known. */
  readonly cause: string
  /** The figures it rests on. */
  readonly evidence: Readonly<Record<string, unknown>>
  readonly recommendations: readonly string[]
}

/** Judges a window. Must be quick, must not write, and finds nothing where there is no data. */
export interface Detector {
  readonly name: string
  /** One sentence for people who read the list of detectors. */
  readonly description: string
  inspect(window: Window): readonly Finding[]
}

/** Figures to show: a named section of JSON, snake_case, with the unit in each name. */
export interface View {
  readonly name: string
  readonly description: string
  /** JSON schema of what `read` returns. */
  readonly schema: TSchema
  /** JSON schema of `query`; left out when it takes none. */
  readonly querySchema?: TSchema
  read(query?: Readonly<Record<string, unknown>>): unknown
}

/** A deed that somebody may order. */
export interface Action {
  readonly name: string
  readonly description: string
  /** JSON schema of `parameters`; left out when it takes none. */
  readonly parametersSchema?: TSchema
  /** @throws VitalsError when it can't be done, saying why */
  run(parameters?: Readonly<Record<string, unknown>>): unknown
}

/** Things by name, in the order in which they came. A name is given once. */
export class NamedRegistry<Item extends { readonly name: string }> {
  readonly #kind: string
  readonly #items = new Map<string, Item>()

  /** @param kind what the items are, for error messages */
  constructor(kind: string) {
    this.#kind = kind
  }

  /** @throws VitalsDeclarationError when the name is taken */
  add(item: Item): void {
    if (this.#items.has(item.name)) {
      throw new VitalsDeclarationError(`there is already a ${this.#kind} named "${item.name}"`)
    }
    this.#items.set(item.name, item)
  }

  get(name: string): Item | undefined {
    return this.#items.get(name)
  }

  list(): Item[] {
    return [...this.#items.values()]
  }
}
