import type { Vitals } from '@fastify-vitals/metrics'
import type { CompressionParts } from './plugin.ts'

const STATES = { normal: 0, saturated: 1, severe: 2 } as const

/** What is in use right now, over all registrations of the plugin in an app. */
export function declareGauges(vitals: Vitals, all: readonly CompressionParts[]): void {
  const sum = (read: (parts: CompressionParts) => number) => (): number =>
    all.reduce((total, parts) => total + read(parts), 0)
  vitals.gauge({
    name: 'http_compression_cache_bytes',
    help: 'Memory of compressed bodies that are kept',
    collect: sum(({ cache }) => cache?.bytes ?? 0)
  })
  vitals.gauge({
    name: 'http_compression_cache_entries',
    help: 'Bodies that are kept compressed',
    collect: sum(({ cache }) => cache?.size ?? 0)
  })
  vitals.gauge({
    name: 'http_compression_open_streams',
    help: 'Streamed responses being compressed, each with memory of zlib',
    collect: sum(({ streams }) => streams.open)
  })
  vitals.gauge({
    name: 'http_compression_pending',
    help: 'Bodies being compressed in the thread pool, or waiting for it',
    collect: sum(({ compressor }) => compressor.pending)
  })
  vitals.gauge({
    name: 'http_compression_load_state',
    help: 'What compression may cost: 0 all, 1 the cheapest level, 2 nothing',
    collect: () => Math.max(0, ...all.map(({ load }) => STATES[load.state]))
  })
}
