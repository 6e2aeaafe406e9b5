/** What a fault takes: a number within bounds. */
export interface FaultParameter {
  readonly default: number
  readonly minimum: number
  readonly maximum: number
  readonly unit: string
}

export interface FaultDefinition {
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

export const FAULT_DEFINITIONS: Readonly<Record<FaultName, FaultDefinition>> = {
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
      bytes_per_request: { default: 65_536, minimum: 1024, maximum: 4_194_304, unit: 'bytes' },
      max_bytes: { default: 268_435_456, minimum: 1024, maximum: 268_435_456, unit: 'bytes' }
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

export const FAULT_NAMES: readonly FaultName[] = Object.keys(FAULT_DEFINITIONS) as FaultName[]
