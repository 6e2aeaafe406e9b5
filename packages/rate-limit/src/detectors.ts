import { wilsonLower } from '@fastify-vitals/metrics'
import type { Detector, Finding, Window } from '@fastify-vitals/metrics'
import type { SharedStore } from './shared-store.ts'

const FEWEST_REQUESTS = 50
/** A limit that refuses a tenth of a route's requests is felt. */
const STORM_SHARE = 0.1
const HEAVY_STORM_SHARE = 0.5

/** Routes of which limits refuse a good part. */
export function rateLimitStorm(): Detector {
  return {
    name: 'rate_limit_storm',
    description: `Routes where limits refuse more than ${STORM_SHARE * 100} % of the requests`,
    inspect(window) {
      const routes = new Set(
        window.counters('rate_limit_requests_total').map(({ labels }) => labels.route ?? '')
      )
      return [...routes].flatMap((route) => judgeRoute(route, window))
    }
  }
}

function judgeRoute(route: string, window: Window): Finding[] {
  const count = (result: string): number =>
    window.counter('rate_limit_requests_total', { route, result })
  const limited = count('limited')
  const wouldLimit = count('would_limit')
  const requests = limited + wouldLimit + count('allowed')
  const refused = limited + wouldLimit
  if (requests < FEWEST_REQUESTS || wilsonLower(refused, requests) < STORM_SHARE) return []
  const share = refused / requests
  return [
    {
      type: 'rate_limit_storm',
      severity: limited === 0 ? 'low' : share >= HEAVY_STORM_SHARE ? 'high' : 'medium',
      route,
      cause: `${limited === 0 ? 'a limit in dry run would have refused' : 'limits refused'} ${Math.round(share * 100)} % of its requests`,
      evidence: { request_count: requests, limited_count: limited, would_limit_count: wouldLimit },
      recommendations: [
        'Look at the most limited keys: if it is a few, they are the cause; if it is everybody, the limit is too low'
      ]
    }
  ]
}

/** The shared store does not answer. */
export function storeUnavailable(store: SharedStore): Detector {
  return {
    name: 'rate_limit_degraded',
    description: 'The store that processes share their limits through does not answer',
    inspect(window) {
      if (store.isUp) return []
      return [
        {
          type: 'rate_limit_degraded',
          severity: 'medium',
          cause: 'the store of the rate limits does not answer; each instance limits by its share',
          evidence: {
            instances: store.instances,
            timeout_ms: store.timeoutMs,
            decided_by_share: window.counter('rate_limit_requests_total', { result: 'degraded' }),
            store_errors: window.counter('rate_limit_store_errors_total')
          },
          recommendations: [
            'Look whether Redis is up, reachable and not saturated; nothing has to be done here when it is back'
          ]
        }
      ]
    }
  }
}
