import type {
  BucketHistogramFamily,
  CounterFamily,
  HistogramFamily,
  Vitals
} from '@fastify-vitals/metrics'

/** 100 bytes to 10 MB. */
const SIZE_BUCKETS = [100, 1000, 10_000, 100_000, 1_000_000, 10_000_000]
const ROUTE_LABELS = ['method', 'route']
const OTEL_ROUTE = { method: 'http_request_method', route: 'http_route' }

/** The metrics of HTTP requests. */
export interface HttpMetrics {
  readonly durations: HistogramFamily
  readonly longLived: HistogramFamily
  readonly firstBytes: HistogramFamily
  readonly queueTimes: HistogramFamily
  readonly requestSizes: BucketHistogramFamily
  readonly responseSizes: BucketHistogramFamily
  readonly outcomes: CounterFamily
  readonly malformed: CounterFamily
  readonly failedCallbacks: CounterFamily
}

/**
 * Declares them at the hub, with their names under OpenTelemetry.
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
 */
export function declareHttpMetrics(vitals: Vitals, labelNames: readonly string[]): HttpMetrics {
  return {
    durations: vitals.histogram({
      name: 'http_request_duration_seconds',
      help: 'Duration of HTTP requests in seconds, until the response was sent or given up',
      labelNames: [...ROUTE_LABELS, 'status_code', ...labelNames],
      buckets: vitals.durationBuckets,
      opentelemetry: {
        name: 'http_server_request_duration_seconds',
        labels: { ...OTEL_ROUTE, status_code: 'http_response_status_code' }
      }
    }),
    ...declareStreams(vitals),
    ...declareSizes(vitals),
    ...declareCounters(vitals)
  }
}

function declareStreams(
  vitals: Vitals
): Pick<HttpMetrics, 'longLived' | 'firstBytes' | 'queueTimes'> {
  const buckets = vitals.durationBuckets
  return {
    longLived: vitals.histogram({
      name: 'http_long_lived_duration_seconds',
      help: 'Duration of server-sent events and upgraded connections in seconds',
      labelNames: [...ROUTE_LABELS, 'kind'],
      buckets: [1, 10, 60, 300, 1800, 3600]
    }),
    firstBytes: vitals.histogram({
      name: 'http_response_first_byte_seconds',
      help: 'Time to the first byte of streamed responses in seconds',
      labelNames: ROUTE_LABELS,
      buckets
    }),
    queueTimes: vitals.histogram({
      name: 'http_request_queue_seconds',
      help: 'Time that requests waited in front of this process in seconds, as a proxy told it',
      buckets
    })
  }
}

function declareSizes(vitals: Vitals): Pick<HttpMetrics, 'requestSizes' | 'responseSizes'> {
  const sizes = (direction: 'request' | 'response'): BucketHistogramFamily =>
    vitals.bucketHistogram({
      name: `http_${direction}_size_bytes`,
      help: `Size of HTTP ${direction} bodies in bytes`,
      labelNames: ROUTE_LABELS,
      buckets: SIZE_BUCKETS,
      opentelemetry: { name: `http_server_${direction}_body_size_bytes`, labels: OTEL_ROUTE }
    })
  return { requestSizes: sizes('request'), responseSizes: sizes('response') }
}

function declareCounters(
  vitals: Vitals
): Pick<HttpMetrics, 'outcomes' | 'malformed' | 'failedCallbacks'> {
  return {
    outcomes: vitals.counter({
      name: 'http_request_outcomes_total',
      help: 'HTTP requests by how they ended: success, client_error, server_error, aborted, timeout',
      labelNames: [...ROUTE_LABELS, 'outcome']
    }),
    malformed: vitals.counter({
      name: 'http_malformed_requests_total',
      help: 'Requests that could not be read as HTTP and reached no route, by the status they got',
      labelNames: ['status_code']
    }),
    failedCallbacks: vitals.counter({
      name: 'http_timing_callback_errors_total',
      help: 'Calls of your extractors (tenant, user, labels, allowTrace) that threw, by callback',
      labelNames: ['callback']
    })
  }
}
