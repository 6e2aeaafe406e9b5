import type { Detector, Finding, Window } from '@fastify-vitals/metrics'
import { costsMoreThanItSaves, missedBytes } from './advice.ts'
import type { KnownRoute } from './compressed-routes.ts'

/** Routes whose compression costs more than it saves, or that go without it where it would pay. */
export function compressionAdvice(routes: readonly KnownRoute[]): Detector {
  return {
    name: 'compression_advice',
    description: 'Compression that costs more than it saves, or is missing where it would pay',
    inspect: (window) => [...tooDear(window), ...routes.flatMap((route) => missing(route, window))]
  }
}

function tooDear(window: Window): Finding[] {
  return window.counters('http_compressions_total').flatMap(({ labels, value: bodies }) => {
    const bytes = (direction: string): number =>
      window.counter('http_compression_route_bytes_total', { ...labels, direction })
    const bytesBefore = bytes('in')
    const bytesAfter = bytes('out')
    const cpuMs = window.counter('http_compression_cpu_seconds_total', labels) * 1000
    const advice = costsMoreThanItSaves({ bodies, bytesBefore, bytesAfter, cpuMs })
    if (advice === undefined) return []
    const [reason, recommendation] = advice.split(': ') as [string, string]
    return [
      {
        type: 'compression_does_not_pay',
        severity: 'low' as const,
        route: `${labels['method']} ${labels['route']}`,
        cause: `compression with ${labels['encoding']} ${reason}`,
        evidence: {
          encoding: labels['encoding'],
          responses: bodies,
          bytes_before: bytesBefore,
          bytes_after: bytesAfter,
          cpu_ms: cpuMs
        },
        recommendations: [recommendation]
      }
    ]
  })
}

function missing({ method, route, trial, isSecret }: KnownRoute, window: Window): Finding[] {
  if (isSecret) return []
  return (['type', 'disabled'] as const).flatMap((reason) => {
    const bytes = window.counter('http_compression_skipped_bytes_total', { method, route, reason })
    const saved = missedBytes(bytes, trial.savedRatio)
    if (saved === undefined) return []
    return [
      {
        type: 'compression_missing',
        severity: 'low' as const,
        route: `${method} ${route}`,
        cause: `its responses would be ${Math.round(trial.savedRatio! * 100)} % smaller compressed`,
        evidence: { reason, bytes_sent: bytes, bytes_saved_at_least: Math.round(saved) },
        recommendations: [
          reason === 'type'
            ? 'Add the content type of this route to contentTypes'
            : 'Take config.compression = false away, unless its bodies hold secrets'
        ]
      }
    ]
  })
}
