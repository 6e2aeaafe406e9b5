import { setTimeout as wait } from 'node:timers/promises'
import type { Database, Query } from './database.ts'
import type { Faults } from './faults.ts'

/** A database whose pool can be made small: queries then stand in line for a place. */
export function faultyDatabase(database: Database, faults: Faults): Database {
  let busy = 0
  const line: (() => void)[] = []

  async function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const pool = faults.get('small-pool')
    if (pool === undefined) return await work()
    while (busy >= (faults.get('small-pool')?.size ?? Infinity)) {
      await new Promise<void>((resolve) => line.push(resolve))
    }
    busy++
    try {
      await wait(pool.hold_ms)
      return await work()
    } finally {
      busy--
      line.shift()?.()
    }
  }

  const query: Query = async (sql, parameters) =>
    await inTurn(() => database.query(sql, parameters))
  return {
    kind: database.kind,
    query,
    transaction: async (work) => await inTurn(() => database.transaction(work)),
    close: async () => await database.close()
  }
}
