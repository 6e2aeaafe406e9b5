import { connect } from 'node:net'
import type { Socket } from 'node:net'

const CONNECTIONS = 32
const HEAD_END = Buffer.from('\r\n\r\n')
const GIVE_UP_MS = 60_000

/**
 * Sends requests over keep-alive connections, each with one under way, and counts the answers.
 * @returns requests per second
 * @throws Error when an answer is not 200 or the server goes away
 */
export async function load(port: number, path: string, requests: number): Promise<number> {
  const bytes = Buffer.from(
    `GET ${path} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\naccept-encoding: gzip, deflate, br\r\n\r\n`
  )
  const budget = { left: requests }
  const startMs = performance.now()
  await Promise.all(Array.from({ length: CONNECTIONS }, () => connection(port, bytes, budget)))
  return requests / ((performance.now() - startMs) / 1000)
}

function connection(port: number, bytes: Buffer, budget: { left: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(port, '127.0.0.1')
    let buffered = Buffer.alloc(0)
    const next = (): void => {
      if (budget.left-- > 0) socket.write(bytes)
      else socket.end(resolve)
    }
    socket.setNoDelay(true)
    socket.setTimeout(GIVE_UP_MS, () => socket.destroy(new Error('the server does not answer')))
    socket.on('connect', next)
    socket.on('error', reject)
    socket.on('data', (chunk) => {
      buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk])
      const length = responseLength(buffered)
      if (length === undefined || buffered.length < length) return
      if (!buffered.subarray(9, 12).equals(OK)) {
        socket.destroy(new Error(`the server answered ${buffered.toString('latin1', 9, 12)}`))
      }
      buffered = buffered.subarray(length)
      next()
    })
  })
}

const OK = Buffer.from('200')

/** Length of the response at the start of some bytes; `undefined` while its head is not whole. */
function responseLength(bytes: Buffer): number | undefined {
  const end = bytes.indexOf(HEAD_END)
  if (end === -1) return undefined
  const head = bytes.toString('latin1', 0, end)
  const length = /\r\ncontent-length: (\d+)/i.exec(head)
  return end + HEAD_END.length + Number(length?.[1] ?? 0)
}
