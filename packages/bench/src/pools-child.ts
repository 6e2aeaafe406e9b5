// Measures pools in a process of its own, whose heap holds nothing else.
import { POOL_WAYS } from './pools-ways.ts'
import type { PoolSamples } from './pools.ts'

const WARM_UP_ROUNDS = 2

/**
 * Nanoseconds of processor time an operation takes, all threads: the garbage collector's too, the
 * garbage of these very operations included.
 */
function measure(operation: (i: number) => void, operations: number): number {
  globalThis.gc!()
  const before = process.cpuUsage()
  for (let i = 0; i < operations; i++) operation(i)
  globalThis.gc!()
  const { user, system } = process.cpuUsage(before)
  return ((user + system) * 1000) / operations
}

/** Plain, pooled, and plain once more, in another order each round. */
function sample(rounds: number): PoolSamples[] {
  return POOL_WAYS.map(({ name, partOf, operations, plain, pooled }) => {
    const figures: PoolSamples = { name, partOf, plain: [], pooled: [], control: [] }
    const ways = { plain, pooled, control: plain }
    const order = Object.keys(ways) as (keyof typeof ways)[]
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      for (const way of order) {
        const ns = measure(ways[way], operations)
        if (round >= 0) figures[way].push(ns)
      }
      order.push(order.shift()!)
    }
    return figures
  })
}

process.once('message', (message) => {
  process.send?.(sample(Number(message)))
})
