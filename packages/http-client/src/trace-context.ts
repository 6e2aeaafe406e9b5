import { channel } from 'node:diagnostics_channel'
import type { IncomingHttpHeaders } from 'node:http'

/** Where all copies of `@opentelemetry/api` 1.x find what was registered. */
const OPENTELEMETRY = Symbol.for('opentelemetry.js.api.1')

interface OpenTelemetryGlobal {
  readonly context?: { active(): unknown }
  readonly propagation?: {
    inject(
      context: unknown,
      carrier: object,
      setter: { set(carrier: object, key: string, value: string): void }
    ): void
  }
}

/** Subscribed to by OpenTelemetry's instrumentation of undici, which then adds the headers itself. */
const REQUEST_CREATED = channel('undici:request:create')

/** @see https://www.w3.org/TR/trace-context/ */
const TRACEPARENT = /^[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}(?:-.*)?$/

const SETTER = {
  set(carrier: object, key: string, value: string): void {
    ;(carrier as Record<string, string>)[key.toLowerCase()] = value
  }
}

/**
 * Puts the trace context into the headers of a call: that of the active span where an OpenTelemetry
 * SDK is registered, else that which the request came with.
 */
export function addTraceContext(
  headers: Record<string, unknown>,
  incoming: IncomingHttpHeaders | undefined
): void {
  if (headers['traceparent'] !== undefined) return
  const { context, propagation } =
    (globalThis as { [OPENTELEMETRY]?: OpenTelemetryGlobal })[OPENTELEMETRY] ?? {}
  if (context !== undefined && propagation !== undefined) {
    if (!REQUEST_CREATED.hasSubscribers) propagation.inject(context.active(), headers, SETTER)
    return
  }
  const { traceparent, tracestate } = incoming ?? {}
  if (typeof traceparent !== 'string' || !TRACEPARENT.test(traceparent)) return
  headers['traceparent'] = traceparent
  if (typeof tracestate === 'string') headers['tracestate'] = tracestate
}
