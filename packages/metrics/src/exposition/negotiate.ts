export type ExpositionFormat = 'text' | 'openmetrics' | 'protobuf'

export const CONTENT_TYPES: Readonly<Record<ExpositionFormat, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  protobuf:
    'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited'
}

/**
 * The exposition format that an `Accept` header prefers; plain text when it names none of ours.
 * Equal preferences are settled by their order, as Prometheus sends them best first.
 */
export function negotiateFormat(accept: string | undefined): ExpositionFormat {
  let best: ExpositionFormat = 'text'
  let bestQuality = 0
  for (const range of (accept ?? '').slice(0, 2000).split(',')) {
    const [type, ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    const format = formatOf(type ?? '', parameters)
    const quality = qualityOf(parameters)
    if (format !== undefined && quality > bestQuality) {
      best = format
      bestQuality = quality
    }
  }
  return best
}

function formatOf(type: string, parameters: readonly string[]): ExpositionFormat | undefined {
  if (type === 'application/openmetrics-text') return 'openmetrics'
  if (type === 'text/plain' || type === 'text/*' || type === '*/*') return 'text'
  const delimited =
    type === 'application/vnd.google.protobuf' &&
    parameters.includes('proto=io.prometheus.client.metricfamily') &&
    parameters.includes('encoding=delimited')
  return delimited ? 'protobuf' : undefined
}

function qualityOf(parameters: readonly string[]): number {
  const given = parameters.find((parameter) => parameter.startsWith('q='))
  const quality = given === undefined ? 1 : Number(given.slice(2))
  return quality >= 0 && quality <= 1 ? quality : 0
}
