import { FAULT_DEFINITIONS, FAULT_NAMES } from './fault-definitions.ts'
import type { FaultName } from './fault-definitions.ts'

export { FAULT_NAMES }
export type { FaultName }

export interface FaultState {
  readonly name: FaultName
  readonly description: string
  readonly enabled: boolean
  readonly parameters: Readonly<Record<string, number>>
}

type FaultListener = (name: FaultName, isEnabled: boolean) => void

/** A fault was asked for what it can't do. */
class FaultError extends Error {
  readonly statusCode = 400
}

/** The faults of one app: all off until somebody switches one on. */
export class Faults {
  readonly #enabled = new Map<FaultName, Readonly<Record<string, number>>>()
  readonly #listeners: FaultListener[] = []

  /** Tells `listener` of every fault that is switched. */
  onChange(listener: FaultListener): void {
    this.#listeners.push(listener)
  }

  /** The parameters of a fault that is on; `undefined` when it is off. */
  get(name: FaultName): Readonly<Record<string, number>> | undefined {
    return this.#enabled.get(name)
  }

  /** @throws FaultError for parameters it doesn't have or that are out of bounds */
  enable(name: FaultName, given: Readonly<Record<string, number>> = {}): void {
    this.#enabled.set(name, checkedParameters(name, given))
    this.#tell(name, true)
  }

  disable(name: FaultName): void {
    this.#enabled.delete(name)
    this.#tell(name, false)
  }

  list(): FaultState[] {
    return FAULT_NAMES.map((name) => ({
      name,
      description: FAULT_DEFINITIONS[name].description,
      enabled: this.#enabled.has(name),
      parameters: this.#enabled.get(name) ?? defaultsOf(name)
    }))
  }

  #tell(name: FaultName, isEnabled: boolean): void {
    for (const listener of this.#listeners) listener(name, isEnabled)
  }
}

function defaultsOf(name: FaultName): Record<string, number> {
  const entries = Object.entries(FAULT_DEFINITIONS[name].parameters)
  return Object.fromEntries(entries.map(([key, parameter]) => [key, parameter.default]))
}

function checkedParameters(
  name: FaultName,
  given: Readonly<Record<string, number>>
): Record<string, number> {
  const known = FAULT_DEFINITIONS[name].parameters
  for (const [key, value] of Object.entries(given)) {
    const parameter = Object.hasOwn(known, key) ? known[key] : undefined
    if (parameter === undefined) {
      const allowed = Object.keys(known).join(', ') || 'none'
      throw new FaultError(`fault ${name} has no parameter "${key}"; allowed: ${allowed}`)
    }
    const { minimum, maximum, unit } = parameter
    if (!(value >= minimum && value <= maximum)) {
      throw new FaultError(
        `${key} of fault ${name} must be from ${minimum} to ${maximum} ${unit}, got ${String(value)}`
      )
    }
  }
  return { ...defaultsOf(name), ...given }
}
