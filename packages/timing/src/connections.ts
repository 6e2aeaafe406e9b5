import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** Counts the connections of a server. */
export class Connections {
  active = 0

  constructor(server: Server) {
    server.on('connection', (socket: Socket) => {
      this.active++
      socket.once('close', () => this.active--)
    })
  }
}
