import type { CounterFamily, View } from '@fastify-vitals/metrics'
import Type from 'typebox'
import { costsMoreThanItSaves, missedBytes } from './advice.ts'
import type { KnownRoute } from './compressed-routes.ts'
import type { CompressionMetrics } from './compression-metrics.ts'
import type { CompressionParts } from './plugin.ts'

const nullableNumber = Type.Union([Type.Number(), Type.Null()])
const nullableText = Type.Union([Type.String(), Type.Null()])
const counts = Type.Record(Type.String(), Type.Number())

const totals = {
  responses: Type.Number(),
  bytes_before: Type.Number(),
  bytes_after: Type.Number(),
  bytes_saved: Type.Number(),
  ratio_percent: nullableNumber,
  cpu_ms: Type.Number(),
  cache_hits: Type.Number()
}

const schema = Type.Object({
  ...totals,
  routes: Type.Array(
    Type.Object({
      method: Type.String(),
      route: Type.String(),
      encoding: Type.String(),
      ...totals,
      recommendation: nullableText
    })
  ),
  missing: Type.Array(
    Type.Object({
      method: Type.String(),
      route: Type.String(),
      bytes_sent: Type.Number(),
      saved_percent: Type.Number(),
      recommendation: nullableText
    })
  ),
  skipped: counts,
  not_modified: Type.Number(),
  cache: Type.Object({ bytes: Type.Number(), entries: Type.Number() }),
  load: Type.Object({ state: Type.String(), utilisation_percent: Type.Number() }),
  open_streams: Type.Number(),
  request_decompressions: counts
})

/** What compression did since the start: by route and encoding, and in all. */
export function compressionView(
  metrics: CompressionMetrics,
  routes: readonly KnownRoute[],
  parts: readonly CompressionParts[]
): View {
  return {
    name: 'compression',
    description: 'Bytes before and after compression, what it cost, and where it does not pay',
    schema,
    read() {
      const figures = routeFigures(metrics)
      return {
        ...summed(figures),
        routes: figures.map(({ labels, ...figure }) => ({
          ...labels,
          ...withRatio(figure),
          recommendation: recommendationFor(figure)
        })),
        missing: routes.flatMap((route) => missingOn(route, metrics)),
        skipped: byLabel(metrics.skipped, 0),
        not_modified: [...metrics.notModified.series].reduce((sum, { value }) => sum + value, 0),
        ...inUse(parts),
        request_decompressions: byLabel(metrics.decoded, 1)
      }
    }
  }
}

interface Figure {
  readonly responses: number
  readonly bytes_before: number
  readonly bytes_after: number
  readonly cpu_ms: number
  readonly cache_hits: number
}

type RouteFigure = Figure & { readonly labels: Readonly<Record<string, string>> }

function routeFigures(metrics: CompressionMetrics): RouteFigure[] {
  return [...metrics.compressions.series].map(({ values, value: responses }) => {
    const labels = { method: values[0]!, route: values[1]!, encoding: values[2]! }
    const bytes = (direction: string): number =>
      metrics.routeBytes.with({ ...labels, direction }).value
    return {
      labels,
      responses,
      bytes_before: bytes('in'),
      bytes_after: bytes('out'),
      cpu_ms: metrics.cpuSeconds.with(labels).value * 1000,
      cache_hits: metrics.cacheHits.with(labels).value
    }
  })
}

function summed(figures: readonly Figure[]): object {
  const sum = (name: keyof Figure): number =>
    figures.reduce((total, figure) => total + figure[name], 0)
  return withRatio({
    responses: sum('responses'),
    bytes_before: sum('bytes_before'),
    bytes_after: sum('bytes_after'),
    cpu_ms: sum('cpu_ms'),
    cache_hits: sum('cache_hits')
  })
}

function withRatio(figure: Figure): object {
  const { bytes_before: before, bytes_after: after } = figure
  return {
    ...figure,
    bytes_saved: before - after,
    ratio_percent: before === 0 ? null : (after / before) * 100
  }
}

function recommendationFor(figure: Figure): string | null {
  const advice = costsMoreThanItSaves({
    bodies: figure.responses,
    bytesBefore: figure.bytes_before,
    bytesAfter: figure.bytes_after,
    cpuMs: figure.cpu_ms
  })
  return advice ?? null
}

function missingOn(known: KnownRoute, metrics: CompressionMetrics): object[] {
  const { method, route, trial, isSecret } = known
  const sent = [...metrics.skippedBytes.series]
    .filter(({ values }) => values[0] === method && values[1] === route)
    .filter(({ values }) => values[2] === 'type' || values[2] === 'disabled')
    .reduce((sum, { value }) => sum + value, 0)
  const saved = isSecret ? undefined : missedBytes(sent, trial.savedRatio)
  if (saved === undefined) return []
  return [
    {
      method,
      route,
      bytes_sent: sent,
      saved_percent: trial.savedRatio! * 100,
      recommendation: 'compress it: by config.compression, or by its type in contentTypes'
    }
  ]
}

/** Totals by the value of one label. */
function byLabel(family: CounterFamily, at: number): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const { values, value } of family.series) {
    const name = values[at]!
    sums[name] = (sums[name] ?? 0) + value
  }
  return sums
}

function inUse(parts: readonly CompressionParts[]): object {
  const sum = (read: (part: CompressionParts) => number): number =>
    parts.reduce((total, part) => total + read(part), 0)
  const busiest = parts.toSorted((a, b) => b.load.utilisation - a.load.utilisation)[0]
  return {
    cache: {
      bytes: sum(({ cache }) => cache?.bytes ?? 0),
      entries: sum(({ cache }) => cache?.size ?? 0)
    },
    load: {
      state: busiest?.load.state ?? 'normal',
      utilisation_percent: (busiest?.load.utilisation ?? 0) * 100
    },
    open_streams: sum(({ streams }) => streams.open)
  }
}
