import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Writable } from 'node:stream'
import type { FastifyInstance } from 'fastify'

interface Parsed extends IncomingMessage {
  _addHeaderLines(headers: string[], count: number): void
}

/** Takes what is written and says it is done, as a fast socket would. */
class Sink extends Writable {
  readonly remoteAddress = '127.0.0.1'
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
  }
  setTimeout(): this {
    return this
  }
}

const sink = new Sink()
sink.setMaxListeners(0)

/**
 * Sends a request through an app without sockets or a network: what is left is Fastify and the
 * plugins, so small differences show.
 */
export function dispatch(
  app: FastifyInstance,
  path: string,
  headers: readonly string[]
): Promise<number> {
  return new Promise((resolve) => {
    const incoming = new IncomingMessage(sink as unknown as Socket)
    incoming.method = 'GET'
    incoming.url = path
    incoming.httpVersion = '1.1'
    incoming.httpVersionMajor = 1
    incoming.httpVersionMinor = 1
    // what Node's parser calls: it makes the object of headers only for those who read it
    ;(incoming as Parsed)._addHeaderLines([...headers], headers.length)
    const response = new ServerResponse(incoming)
    response.assignSocket(sink as unknown as Socket)
    // what Node's server does: a response lets its socket go and closes once it has finished
    response.on('finish', () => {
      response.detachSocket(sink as unknown as Socket)
      process.nextTick(() => {
        response.destroyed = true
        response.emit('close')
        resolve(response.statusCode)
      })
    })
    app.routing(incoming, response)
  })
}
