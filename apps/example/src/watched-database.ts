import type { Vitals } from '@fastify-vitals/metrics'
import type { Database, Query } from './database.ts'

/**
 * Tells the hub how many queries each request makes and how long they take: the shop's own few
 * lines, until there is a plugin for it. `vitals.requests.follow()` must have been called.
 */
export function watchedDatabase(database: Database, vitals: Vitals): Database {
  const watched = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    const part = vitals.requests.current()?.part('database')
    part?.enter(performance.now())
    try {
      return await work()
    } finally {
      part?.leave(performance.now())
    }
  }
  const watchedQuery =
    (query: Query): Query =>
    async (sql, parameters) =>
      await watched(async () => await query(sql, parameters))
  return {
    kind: database.kind,
    query: watchedQuery(database.query),
    pause: async (delayMs) => await watched(async () => await database.pause(delayMs)),
    transaction: async (work) =>
      await database.transaction(async (query) => await work(watchedQuery(query))),
    close: async () => await database.close()
  }
}
