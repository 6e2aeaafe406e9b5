import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const START_WITHIN_MS = 60_000
/** A request may fail a moment before it is known that the shop has ended. */
const LAST_WORDS_MS = 500

/** A shop in a process of its own, so that its visitors don't share its processor time. */
export interface ShopProcess {
  readonly address: string
  readonly adminToken: string
  /** Rejects when the shop ends by itself. */
  readonly ended: Promise<never>
  /** Asks an admin route. @throws Error when it does not answer as it should */
  admin(method: 'GET' | 'PUT' | 'POST', path: string, body?: unknown): Promise<unknown>
  stop(): Promise<void>
}

/** @throws Error with the shop's own words when it does not start */
export async function startShop(): Promise<ShopProcess> {
  const adminToken = randomBytes(24).toString('hex')
  const child = forkShop(adminToken)
  const exit = once(child, 'exit')
  const ended = failureOf(child, exit)
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await exit
  }
  try {
    const address = await addressOf(child, ended)
    const admin: ShopProcess['admin'] = async (method, path, body) =>
      await ask(address + path, method, adminToken, body).catch(async (error: unknown) => {
        await Promise.race([ended, wait(LAST_WORDS_MS)])
        throw error
      })
    return { address, adminToken, ended, admin, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

function forkShop(adminToken: string): ChildProcess {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const settings = { PORT: '0', HOST: '127.0.0.1', ADMIN_TOKEN: adminToken, LOG_LEVEL: 'fatal' }
  return fork(fileURLToPath(new URL(`./main.${extension}`, import.meta.url)), {
    env: { ...process.env, ...settings },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    // Ctrl-C is for the demo alone: the shop ends when it is told to, or when the demo is gone
    detached: true
  })
}

function failureOf(child: ChildProcess, exit: Promise<unknown[]>): Promise<never> {
  let complaints = ''
  child.stderr!.on('data', (chunk) => (complaints = `${complaints}${chunk}`.slice(-4000)))
  const ended = exit.then((): never => {
    const { exitCode, signalCode } = child
    const how = exitCode === null ? `by ${signalCode}` : `with code ${exitCode}`
    throw new Error(`the shop ended ${how}: ${complaints.trim() || 'it said nothing'}`)
  })
  ended.catch(() => {})
  return ended
}

/** Where the shop serves, as soon as it does. */
async function addressOf(child: ChildProcess, ended: Promise<never>): Promise<string> {
  const timer = AbortSignal.timeout(START_WITHIN_MS)
  const told = once(child, 'message', { signal: timer }).catch(() => {
    throw new Error(`the shop did not start within ${START_WITHIN_MS / 1000} seconds`)
  })
  const [{ address }] = (await Promise.race([told, ended])) as [{ address: string }]
  return address
}

async function ask(url: string, method: string, token: string, body: unknown): Promise<unknown> {
  const headers: Record<string, string> = { authorization: `Bearer ${token}` }
  if (body !== undefined) headers['content-type'] = 'application/json'
  const request: RequestInit = { method, headers }
  if (body !== undefined) request.body = JSON.stringify(body)
  const response = await fetch(url, request)
  if (!response.ok) throw new Error(`${method} ${url} answered ${response.status}`)
  return await response.json()
}
