import type { ClientPolicyOptions } from './option-types.ts'

export type PresetName = 'default' | 'ai' | 'test'

/** What each preset changes; what is given besides goes over it. */
export const PRESETS: Readonly<Record<PresetName, ClientPolicyOptions>> = {
  default: {},
  // answers that take minutes, and upstreams that say when to come again
  ai: {
    timeoutMs: 600_000,
    headersTimeoutMs: 300_000,
    bodyTimeoutMs: 120_000,
    connections: 128,
    queueTimeoutMs: 10_000,
    slowUpstreamMs: 60_000,
    retry: {
      maxAttempts: 3,
      baseMs: 1000,
      maxMs: 20_000,
      maxElapsedMs: 120_000,
      maxRetryAfterMs: 60_000
    }
  },
  // every failure is seen at once, nothing lingers
  test: {
    timeoutMs: 5000,
    connectTimeoutMs: 1000,
    headersTimeoutMs: 4000,
    bodyTimeoutMs: 4000,
    connections: 8,
    idleTimeoutMs: 200,
    retry: { maxAttempts: 1 },
    breaker: false
  }
}
