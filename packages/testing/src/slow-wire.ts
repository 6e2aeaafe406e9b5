import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

/** A wire to a server on this machine that can be made slow. */
export interface SlowWire {
  readonly port: number
  /** Holds back what the server says for so long from now on. */
  delay(ms: number): void
  close(): void
}

export async function slowWire(to: number): Promise<SlowWire> {
  let delayMs = 0
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const upstream = connect(to, '127.0.0.1')
    for (const each of [socket, upstream]) {
      sockets.add(each)
      each.on('error', () => {})
      each.on('close', () => {
        sockets.delete(each)
        socket.destroy()
        upstream.destroy()
      })
    }
    socket.pipe(upstream)
    upstream.on('data', (chunk) => {
      if (delayMs === 0) socket.write(chunk)
      else setTimeout(() => socket.write(chunk), delayMs)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    delay(ms) {
      delayMs = ms
    },
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    }
  }
}
