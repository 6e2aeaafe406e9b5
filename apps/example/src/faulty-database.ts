import { setTimeout as wait } from 'node:timers/promises'
import type { Database } from './database.ts'
import type { Faults } from './faults.ts'

type InTurn = <Result>(work: () => Promise<Result>) => Promise<Result>

/** A database whose pool can be made small: queries then stand in line for a place. */
export function faultyDatabase(database: Database, faults: Faults): Database {
  const inTurn = smallPool(faults)
  return {
    kind: database.kind,
    query: async (sql, parameters) => await inTurn(() => database.query(sql, parameters)),
    pause: async (delayMs) => await inTurn(() => database.pause(delayMs)),
    transaction: async (work) => await inTurn(() => database.transaction(work)),
    close: async () => await database.close()
  }
}

function smallPool(faults: Faults): InTurn {
  let busy = 0
  const line: (() => void)[] = []
  return async (work) => {
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
}
