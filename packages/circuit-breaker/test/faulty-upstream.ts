import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What an upstream does with a request. */
export type Mood = 'well' | 'fails' | 'hangs' | 'resets' | 'breaks_off' | 'is_slow'

/** How long it takes when it is slow. */
export const SLOW_MS = 200

/** A real server on a port of its own that can be made to misbehave, and to go away. */
export class FaultyUpstream {
  mood: Mood = 'well'
  /** Requests that have come in since somebody set it. */
  requests = 0
  /** Requests that it still works on. */
  busy = 0
  mostBusy = 0
  #port = 0
  #server: Server | undefined

  get url(): string {
    return `http://127.0.0.1:${this.#port}/`
  }

  /** Starts it, on the same port as before. */
  async start(): Promise<void> {
    const server = createServer((request, response) => this.#take(request, response))
    this.#server = server
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (server.address() as AddressInfo).port
  }

  /** Refuses connections from now on. */
  async stop(): Promise<void> {
    const server = this.#server!
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    this.requests++
    this.busy++
    this.mostBusy = Math.max(this.mostBusy, this.busy)
    response.once('close', () => this.busy--)
    response.setHeader('connection', 'close')
    if (this.mood === 'well') response.end('well')
    else if (this.mood === 'fails') response.writeHead(500).end('bad')
    else if (this.mood === 'resets') request.socket.resetAndDestroy()
    else if (this.mood === 'is_slow') setTimeout(() => response.end('well'), SLOW_MS)
    else if (this.mood === 'breaks_off') {
      response.writeHead(200, { 'content-length': '1000' }).write('some')
      setTimeout(() => request.socket.destroy(), 5)
    }
  }
}
