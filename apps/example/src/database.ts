import { setTimeout as wait } from 'node:timers/promises'
import { PGlite } from '@electric-sql/pglite'
import pg from 'pg'

export type Row = Readonly<Record<string, unknown>>

/** Runs one statement with parameters. */
export type Query = (sql: string, parameters?: readonly unknown[]) => Promise<readonly Row[]>

/** What the shop needs of PostgreSQL: embedded or a server, it can't tell. */
export interface Database {
  readonly kind: 'PGlite' | 'PostgreSQL'
  readonly query: Query
  /** A query that takes so long and does nothing. */
  pause(delayMs: number): Promise<void>
  /** Runs `work` in a transaction; rolled back when it throws. */
  transaction<Result>(work: (query: Query) => Promise<Result>): Promise<Result>
  close(): Promise<void>
}

const POOL_SIZE = 10
/** Any number: one process at a time makes a schema. */
const SCHEMA_LOCK = 7_202_610

/**
 * The database at `url`, or one inside this process when there is none.
 * @param schema where the tables are, on a server
 */
export async function openDatabase(url: string | undefined, schema: string): Promise<Database> {
  return url === undefined ? embedded() : await server(url, schema)
}

async function embedded(): Promise<Database> {
  const db = await PGlite.create()
  return {
    kind: 'PGlite',
    query: async (sql, parameters = []) => (await db.query<Row>(sql, [...parameters])).rows,
    // it runs in this process, where sleeping in SQL would stop everything else too
    pause: async (delayMs) => await wait(delayMs),
    transaction: async (work) =>
      await db.transaction(
        async (transaction) =>
          await work(
            async (sql, parameters = []) =>
              (await transaction.query<Row>(sql, [...parameters])).rows
          )
      ),
    close: async () => await db.close()
  }
}

async function server(connectionString: string, schema: string): Promise<Database> {
  const quoted = pg.escapeIdentifier(schema)
  const pool = new pg.Pool({
    connectionString,
    max: POOL_SIZE,
    connectionTimeoutMillis: 5000,
    options: `-c search_path=${quoted}`
  })
  pool.on('error', () => {}) // an idle connection that breaks is replaced at the next query
  try {
    await inTransaction(pool, async (query) => {
      await query(`SELECT pg_advisory_xact_lock(${SCHEMA_LOCK})`)
      await query(`CREATE SCHEMA IF NOT EXISTS ${quoted}`)
    })
  } catch (error) {
    await pool.end()
    throw error
  }
  return pooled(pool)
}

function pooled(pool: pg.Pool): Database {
  return {
    kind: 'PostgreSQL',
    query: async (sql, parameters = []) => (await pool.query<Row>(sql, [...parameters])).rows,
    pause: async (delayMs) => void (await pool.query('SELECT pg_sleep($1)', [delayMs / 1000])),
    transaction: async (work) => await inTransaction(pool, work),
    close: async () => await pool.end()
  }
}

async function inTransaction<Result>(
  pool: pg.Pool,
  work: (query: Query) => Promise<Result>
): Promise<Result> {
  const client = await pool.connect()
  let broken: Error | undefined
  try {
    await client.query('BEGIN')
    const result = await work(
      async (sql, parameters = []) => (await client.query<Row>(sql, [...parameters])).rows
    )
    await client.query('COMMIT')
    return result
  } catch (error) {
    // a connection that can't roll back is not used again
    await client.query('ROLLBACK').catch((failure: Error) => (broken = failure))
    throw error
  } finally {
    client.release(broken)
  }
}
