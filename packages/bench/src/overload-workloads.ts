/** Milliseconds that a request keeps the processor busy. */
export const SPIN_MS = 2
/** Connections of the pool, and how long a query holds one, in milliseconds. */
export const POOL_SIZE = 10
export const POOL_QUERY_MS = 20

/** What a request needs: the processor, a connection of the pool, or first this and then that. */
export const WORKLOADS = ['cpu', 'pool', 'both'] as const

export type Workload = (typeof WORKLOADS)[number]

export const OVERLOAD_VARIANTS = ['ours', 'under-pressure', 'nothing'] as const

export type OverloadVariant = (typeof OVERLOAD_VARIANTS)[number]

/** Clients give up after so long. */
export const CLIENT_PATIENCE_MS = 1000

/** What a load process is told, as JSON. */
export interface LoadOrder {
  readonly port: number
  /** Requests per second, at random times, whatever is answered; 0: as many as are answered. */
  readonly rate: number
  readonly warmUpMs: number
  readonly measureMs: number
}

/** What it saw while it measured. */
export interface LoadResult {
  readonly sent: number
  /** Answered 200 before the client gave up. */
  readonly good: number
  readonly refused: number
  /** Given up, or cut off. */
  readonly failed: number
  readonly goodPerSecond: number
  /** Of those answered 200; 0 when there was none. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly refusedP99Ms: number
  /** Share of the time in which the clients had no processor. */
  readonly waitRatio: number
}
