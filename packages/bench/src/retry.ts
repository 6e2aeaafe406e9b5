import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { httpClient } from '@fastify-vitals/http-client'
import type { ClientPolicyOptions, HttpClient } from '@fastify-vitals/http-client'
import Fastify from 'fastify'
import { parseOptions } from './arguments.ts'
import { machine, printTable, verdict, writeJson } from './report.ts'
import { mulberry32 } from './statistics.ts'

const CALLS = 10_000
const QUICK_CALLS = 2000
const CONCURRENCY = 50
const FAILING = [1, 0.5, 0.1]
const MOST_AMPLIFICATION = 1.1

/** Pauses so short that only the budget holds retries back. */
const retry = { maxAttempts: 3, baseMs: 1, maxMs: 2 }

const WAYS: Readonly<Record<string, ClientPolicyOptions>> = {
  'budget (default)': { retry, breaker: false },
  'no budget': { retry, breaker: false, retryBudget: { ratio: 1, minPerSecond: 100_000 } },
  'budget and breaker (default)': { retry }
}

interface Row {
  readonly way: string
  readonly failing: number
  readonly calls: number
  readonly requests: number
  readonly amplification: number
  /** Share of calls that were answered well. */
  readonly succeeded: number
}

/** What retries do to an upstream that fails. @returns whether the budget bounds them */
export async function retryAmplification(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args, ['json', 'quick'])
  const calls = options.quick ? QUICK_CALLS : CALLS
  console.log(`${machine()}\n`)
  console.log(`Requests that an upstream sees for ${calls} calls, of which it fails a share\n`)
  const rows: Row[] = []
  for (const failing of FAILING) {
    for (const way of Object.keys(WAYS)) rows.push(await measure(way, failing, calls))
  }
  printTable(
    ['client', 'failing', 'requests', 'per call', 'calls answered well'],
    rows.map((row) => [
      row.way,
      percent(row.failing),
      String(row.requests),
      `${row.amplification.toFixed(3)}x`,
      percent(row.succeeded)
    ])
  )
  console.log('')
  const worst = Math.max(
    ...rows.filter(({ way }) => way !== 'no budget').map(({ amplification }) => amplification)
  )
  const isKept = verdict(
    `load grows to at most ${MOST_AMPLIFICATION}x, whatever share fails: ${worst.toFixed(3)}x`,
    worst <= MOST_AMPLIFICATION
  )
  writeJson(options.json, { node: process.version, calls, rows })
  return isKept
}

async function measure(way: string, failing: number, calls: number): Promise<Row> {
  const random = mulberry32(7)
  let requests = 0
  const upstream = createServer((_request, response) => {
    requests++
    response.writeHead(random() < failing ? 503 : 200).end()
  }).listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  const { port } = upstream.address() as AddressInfo
  const app = Fastify()
  await app.register(httpClient, {
    clients: { up: { origins: [`http://127.0.0.1:${port}`], ...WAYS[way] } }
  })
  const succeeded = await callAll(app.httpClient('up'), calls)
  await app.close()
  upstream.close()
  return {
    way,
    failing,
    calls,
    requests,
    amplification: requests / calls,
    succeeded: succeeded / calls
  }
}

/** @returns how many were answered well */
async function callAll(client: HttpClient, calls: number): Promise<number> {
  let begun = 0
  let succeeded = 0
  const work = async (): Promise<void> => {
    while (begun++ < calls) {
      try {
        const { status, body } = await client.request({ path: '/' })
        await body.dump()
        if (status === 200) succeeded++
      } catch {
        // an open breaker
      }
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, work))
  return succeeded
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share === 1 || share === 0 ? 0 : 1)} %`
}
