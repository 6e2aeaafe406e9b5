/** What a fault takes: a number within bounds. */
interface FaultParameter {
  readonly default: number
  readonly minimum: number
  readonly maximum: number
  readonly unit: string
}

interface FaultDefinition {
  readonly description: string
  readonly parameters: Readonly<Record<string, FaultParameter>>
}

const milliseconds = (value: number): FaultParameter => ({
  default: value,
  minimum: 1,
  maximum: 10_000,
  unit: 'ms'
})

export type FaultName =
  | 'slow-query'
  | 'n-plus-one'
  | 'blocked-event-loop'
  | 'leak'
  | 'failing-upstream'
  | 'slow-upstream'
  | 'small-pool'
  | 'cache-never-hits'

const DEFINITIONS: Readonly<Record<FaultName, FaultDefinition>> = {
  'slow-query': {
    description: 'GET /products/search waits in the database',
    parameters: { delay_ms: milliseconds(150) }
  },
  'n-plus-one': {
    description: 'GET /customers/:id/orders asks for the lines of each order by itself',
    parameters: {}
  },
  'blocked-event-loop': {
    description: 'GET /products/:id computes without letting others run',
    parameters: { block_ms: milliseconds(120) }
  },
  leak: {
    description: 'GET /products keeps memory of every request',
    parameters: {
      bytes_per_request: { default: 65_536, minimum: 1, maximum: 4_194_304, unit: 'bytes' },
      max_bytes: { default: 268_435_456, minimum: 1, maximum: 268_435_456, unit: 'bytes' }
    }
  },
  'failing-upstream': {
    description: 'the price service answers 500',
    parameters: { percent: { default: 100, minimum: 1, maximum: 100, unit: '%' } }
  },
  'slow-upstream': {
    description: 'the price service takes its time',
    parameters: { delay_ms: milliseconds(500) }
  },
  'small-pool': {
    description: 'so many queries at a time, the others wait',
    parameters: {
      size: { default: 1, minimum: 1, maximum: 10, unit: 'connections' },
      hold_ms: milliseconds(20)
    }
  },
  'cache-never-hits': {
    description: 'the cache of quotes is asked for keys that never come again',
    parameters: {}
  }
}

export const FAULT_NAMES: readonly FaultName[] = Object.keys(DEFINITIONS) as FaultName[]

export interface FaultState {
  readonly name: FaultName
  readonly description: string
  readonly enabled: boolean
  readonly parameters: Readonly<Record<string, number>>
}

/** A fault was asked for what it can't do. */
class FaultError extends Error {
  readonly statusCode = 400
}

/** The faults of one app: all off until somebody switches one on. */
export class Faults {
  readonly #enabled = new Map<FaultName, Readonly<Record<string, number>>>()
  readonly #onChange: (name: FaultName, isEnabled: boolean) => void

  constructor(onChange: (name: FaultName, isEnabled: boolean) => void = () => {}) {
    this.#onChange = onChange
  }

  /** The parameters of a fault that is on; `undefined` when it is off. */
  get(name: FaultName): Readonly<Record<string, number>> | undefined {
    return this.#enabled.get(name)
  }

  /** @throws FaultError for parameters it doesn't have or that are out of bounds */
  enable(name: FaultName, given: Readonly<Record<string, number>> = {}): void {
    this.#enabled.set(name, checkedParameters(name, given))
    this.#onChange(name, true)
  }

  disable(name: FaultName): void {
    this.#enabled.delete(name)
    this.#onChange(name, false)
  }

  list(): FaultState[] {
    return FAULT_NAMES.map((name) => ({
      name,
      description: DEFINITIONS[name].description,
      enabled: this.#enabled.has(name),
      parameters: this.#enabled.get(name) ?? defaultsOf(name)
    }))
  }
}

function defaultsOf(name: FaultName): Record<string, number> {
  const entries = Object.entries(DEFINITIONS[name].parameters)
  return Object.fromEntries(entries.map(([key, parameter]) => [key, parameter.default]))
}

function checkedParameters(
  name: FaultName,
  given: Readonly<Record<string, number>>
): Record<string, number> {
  const known = DEFINITIONS[name].parameters
  for (const [key, value] of Object.entries(given)) {
    const parameter = known[key]
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
