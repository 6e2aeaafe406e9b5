import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

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
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const main = fileURLToPath(new URL(`./main.${extension}`, import.meta.url))
  const child = fork(main, {
    env: {
      ...process.env,
      PORT: '0',
      HOST: '127.0.0.1',
      ADMIN_TOKEN: adminToken,
      LOG_LEVEL: 'fatal'
    },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc']
  })
  let complaints = ''
  child.stderr!.on('data', (chunk) => (complaints = `${complaints}${chunk}`.slice(-4000)))
  const exit = once(child, 'exit')
  const ended = exit.then(([code]) => {
    throw new Error(`the shop ended with code ${code}: ${complaints.trim() || 'it said nothing'}`)
  })
  ended.catch(() => {})
  const [{ address }] = (await Promise.race([once(child, 'message'), ended])) as [
    { address: string }
  ]
  return {
    address,
    adminToken,
    ended,
    admin: async (method, path, body) => await ask(address + path, method, adminToken, body),
    async stop() {
      child.kill('SIGTERM')
      await exit
    }
  }
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
