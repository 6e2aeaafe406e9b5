// Clients that don't wait for each other: `overload-load-child ORDER`, see LoadOrder. Requests are
// sent at random times (Poisson) over as many kept connections as it takes.
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { processorWaitMs } from './overload-processor-wait.ts'
import { CLIENT_PATIENCE_MS } from './overload-workloads.ts'
import type { LoadOrder, LoadResult } from './overload-workloads.ts'
import { mulberry32 } from './statistics.ts'

const order = JSON.parse(process.argv[2]!) as LoadOrder
const BYTES = Buffer.from('GET / HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n')
const READY_CONNECTIONS = 64
const MOST_CONNECTIONS = 4000
const CLOSED_LOOP = 32

const random = mulberry32(0x10ad)
const startMs = performance.now()
const waitBeforeMs = processorWaitMs()
const measureFromMs = startMs + order.warmUpMs
const endMs = measureFromMs + order.measureMs
const good: number[] = []
const refused: number[] = []
let sent = 0
let failed = 0
let open = 0
const idle: Connection[] = []

/** One connection, with one request under way at most. */
class Connection {
  readonly #socket: Socket
  #sentMs = 0
  #isBusy = false
  #received = ''
  #patience: NodeJS.Timeout | undefined

  constructor() {
    open++
    this.#socket = connect(order.port, '127.0.0.1')
    this.#socket.setNoDelay(true)
    this.#socket.on('data', (chunk) => this.#read(chunk.toString('latin1')))
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => this.#closed())
  }

  send(): void {
    this.#isBusy = true
    this.#sentMs = performance.now()
    this.#socket.write(BYTES)
    this.#patience = setTimeout(() => this.#socket.destroy(), CLIENT_PATIENCE_MS)
  }

  #read(text: string): void {
    this.#received += text
    const headEnd = this.#received.indexOf('\r\n\r\n')
    if (headEnd === -1) return
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#received)
    if (this.#received.length < headEnd + 4 + Number(length?.[1] ?? 0)) return
    const status = this.#received.slice(9, 12)
    this.#received = ''
    this.#isBusy = false
    clearTimeout(this.#patience)
    count(status, this.#sentMs)
    if (order.rate === 0) this.send()
    else idle.push(this)
  }

  #closed(): void {
    open--
    clearTimeout(this.#patience)
    const at = idle.indexOf(this)
    if (at !== -1) idle.splice(at, 1)
    if (this.#isBusy) count('', this.#sentMs)
  }
}

/** Counted at the time of the answer. @param status '' when there was none */
function count(status: string, sentMs: number): void {
  const nowMs = performance.now()
  if (nowMs < measureFromMs || nowMs > endMs) return
  if (status === '200') good.push(nowMs - sentMs)
  else if (status === '503') refused.push(nowMs - sentMs)
  else failed++
}

function sendOne(): void {
  if (performance.now() >= measureFromMs) sent++
  const connection = idle.pop()
  if (connection !== undefined) connection.send()
  else if (open < MOST_CONNECTIONS) new Connection().send()
  else failed++
}

let nextMs = startMs

function pump(): void {
  const nowMs = performance.now()
  if (nowMs > endMs) return finish()
  while (nextMs <= nowMs) {
    sendOne()
    nextMs += (-Math.log(1 - random()) * 1000) / order.rate
  }
  // a timer may come a millisecond late, so it only does for what is farther away
  if (nextMs - nowMs > 2) setTimeout(pump, nextMs - nowMs - 1.5)
  else setImmediate(pump)
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0
}

function finish(): void {
  const result: Omit<LoadResult, 'waitRatio'> = {
    sent,
    good: good.length,
    refused: refused.length,
    failed,
    goodPerSecond: good.length / (order.measureMs / 1000),
    p50Ms: quantile(good, 0.5),
    p99Ms: quantile(good, 0.99),
    refusedP99Ms: quantile(refused, 0.99)
  }
  const waitRatio = (processorWaitMs() - waitBeforeMs) / (performance.now() - startMs)
  process.send?.({ ...result, waitRatio }, () => process.exit())
}

process.on('disconnect', () => process.exit())
if (order.rate === 0) {
  for (let i = 0; i < CLOSED_LOOP; i++) new Connection().send()
  setTimeout(finish, endMs - performance.now())
} else {
  for (let i = 0; i < READY_CONNECTIONS; i++) idle.push(new Connection())
  setTimeout(() => {
    nextMs = performance.now()
    pump()
  }, 50)
}
