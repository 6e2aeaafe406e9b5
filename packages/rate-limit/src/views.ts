import type { View } from '@fastify-vitals/metrics'
import Type from 'typebox'
import type { LimitedKeys } from './limited-keys.ts'
import type { Limiter } from './limiter.ts'
import type { Limiters } from './limiters.ts'
import { RESULTS } from './rate-limit-metrics.ts'
import type { RateLimitMetrics } from './rate-limit-metrics.ts'
import type { SharedStore } from './shared-store.ts'

const policySchema = Type.Object({
  name: Type.String(),
  kind: Type.String(),
  requests_per_second: Type.Optional(Type.Number()),
  burst_size: Type.Optional(Type.Number()),
  max: Type.Optional(Type.Number()),
  window_ms: Type.Optional(Type.Number())
})

const schema = Type.Object({
  limiters: Type.Array(Type.Object({ name: Type.String(), policies: Type.Array(policySchema) })),
  routes: Type.Array(
    Type.Object({ route: Type.String(), requests: Type.Record(Type.String(), Type.Number()) })
  ),
  keys: Type.Number(),
  keys_evicted: Type.Number(),
  top_limited_keys: Type.Array(Type.Object({ key: Type.String(), limited_count: Type.Number() })),
  store: Type.Union([
    Type.Null(),
    Type.Object({ up: Type.Boolean(), instances: Type.Number(), timeout_ms: Type.Number() })
  ])
})

/** All limits: what they are, what they did, and whom they refused most. */
export function rateLimitView(
  limiters: Limiters,
  limitedKeys: LimitedKeys,
  store: SharedStore | undefined,
  metrics: RateLimitMetrics
): View {
  return {
    name: 'rate_limits',
    description: 'Limits, what they did by route, and the keys that were refused most',
    schema,
    read: () => ({
      limiters: limiters.list.map(shownLimiter),
      routes: shownRoutes(metrics),
      keys: limiters.keys,
      keys_evicted: limiters.evicted,
      top_limited_keys: limitedKeys.top().map(({ key, count }) => ({ key, limited_count: count })),
      store:
        store === undefined
          ? null
          : { up: store.isUp, instances: store.instances, timeout_ms: store.timeoutMs }
    })
  }
}

function shownLimiter({ name, policies }: Limiter): unknown {
  return {
    name,
    policies: policies.map((policy) =>
      policy.kind === 'token-bucket'
        ? {
            name: policy.name,
            kind: policy.kind,
            requests_per_second: policy.tokensPerSecond,
            burst_size: policy.size
          }
        : { name: policy.name, kind: policy.kind, max: policy.size, window_ms: policy.windowMs }
    )
  }
}

function shownRoutes(metrics: RateLimitMetrics): unknown[] {
  return metrics.routes().map(({ route, counters }) => ({
    route,
    requests: Object.fromEntries(RESULTS.map((result) => [result, counters[result].value]))
  }))
}
