import type { ServerResponse } from 'node:http'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  HookHandlerDoneFunction
} from 'fastify'
import { statusOfUnfinished } from './abnormal-end.ts'
import { QueuedRequests, markRequest } from './connections.ts'
import { http2Stream } from './http2-stream.ts'
import type { RequestContext } from './request-context.ts'
import { RequestRecord } from './request-record.ts'

/**
 * Makes a record for every request and ends it exactly once: when the response has closed, whole or
 * not. `onResponse` would miss clients that go away; `close` misses only requests that were still
 * waiting behind others on their connection, responses of `inject`, and the lives of connections that
 * were upgraded, so these get what they need.
 */
export function installRequestHooks(app: FastifyInstance, context: RequestContext): void {
  const queued = new QueuedRequests((record) => end(record, false))

  function end(record: RequestRecord, finished: boolean): void {
    if (record.done) return
    const nowMs = performance.now()
    const { raw } = record.reply
    const status = finished ? raw.statusCode : statusOfUnfinished(record, nowMs)
    if (record.request.raw.httpVersionMajor === 1) markRequest(record.request.raw.socket, undefined)
    context.complete(record, status, nowMs)
  }

  app.addHook('onRequest', function beginRecord(request, reply, done) {
    const record = new RequestRecord(request, reply, performance.now(), context)
    request.vitalsRecord = record
    context.begin()
    const { raw } = reply
    const stream = http2Stream(raw)
    if (stream !== undefined) raw.on('close', () => end(record, !stream.aborted))
    else if (record.isUpgrade) request.raw.socket.once('close', () => end(record, false))
    else {
      raw.on('close', () => end(record, raw.writableFinished))
      markRequest(request.raw.socket, record)
      if (raw.socket === null) queued.add(record)
      else if (isInjected(raw)) raw.on('finish', () => end(record, true))
    }
    context.run(record, done)
  })
  app.addHook('onRoute', (options) => context.routes.adopt(options))
  app.addHook('onError', function noteError(request, _reply, error, done) {
    const record = request.vitalsRecord
    if (record !== null) record.error = { name: error.name, code: error.code }
    done()
  })
}

/** After its body was read a request runs in the parser's context: this brings its own one back. */
export function installContextReentry(app: FastifyInstance, context: RequestContext): void {
  app.addHook(
    'preValidation',
    function reenterContext(
      request: FastifyRequest,
      _reply: FastifyReply,
      done: HookHandlerDoneFunction
    ) {
      const record = request.vitalsRecord
      if (record === null || context.current() === record) done()
      else context.run(record, done)
    }
  )
}

/** True for the responses of `app.inject()`, which finish but never close. */
function isInjected(raw: ServerResponse): boolean {
  return (raw as ServerResponse & { isLightMyRequest?: boolean }).isLightMyRequest === true
}
