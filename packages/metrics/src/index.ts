export { metrics, metrics as default, ensureVitals } from './plugin.ts'
export { optionsSchema } from './options.ts'
export type { MetricsOptions } from './options.ts'
export type { Exposition, Vitals } from './vitals.ts'
export { BoundedLabel } from './bounded-label.ts'
export type { Counter, CounterFamily, CounterOptions } from './counter.ts'
export type { Action, Detector, Finding, NamedRegistry, Severity, View } from './doors.ts'
export { VitalsDeclarationError, VitalsError, VitalsOptionError } from './errors.ts'
export type { Naming, PromRegistry } from './exposition/metric-source.ts'
export type { OpenTelemetryNames, Series } from './family.ts'
export { FrequentItems } from './frequent-items.ts'
export type { Gauge, GaugeFamily, GaugeOptions } from './gauge.ts'
export { HistogramSnapshot } from './histogram-snapshot.ts'
export type { Quantiles } from './histogram-snapshot.ts'
export type {
  BucketHistogram,
  BucketHistogramFamily,
  BucketHistogramOptions,
  Histogram,
  HistogramFamily,
  HistogramOptions
} from './histogram.ts'
export { guarded } from './guarded.ts'
export { History } from './history/history.ts'
export type { HistoryOptions, HistoryPoint } from './history/history.ts'
export type { Window, WindowSeries } from './history/window.ts'
export { DURATION_BUCKETS, LatencyHistogram } from './latency-histogram.ts'
export type { StopMeasure } from './measure.ts'
export { pathFilter } from './path-filter.ts'
export { CLIENT_CLOSED_REQUEST } from './requests/abnormal-end.ts'
export type { CompletionObserver, RequestContext } from './requests/request-context.ts'
export type {
  PartName,
  RequestError,
  RequestPart,
  RequestRecord
} from './requests/request-record.ts'
export { UNMATCHED, WATCHED_REQUESTS } from './requests/route-table.ts'
export type { Route } from './requests/route-table.ts'
export { resolveOptions } from './resolve-options.ts'
export { RouteHooks } from './route-hooks.ts'
export type { RouteHook, RouteHookName } from './route-hooks.ts'
export { OTHER } from './series-labels.ts'
export type { Labels } from './series-labels.ts'
export type { DistributionSnapshot, SeriesSnapshot, Snapshot } from './snapshot.ts'
export { binomialTail, wilsonLower } from './statistics.ts'
export { wholeNumber } from './whole-number.ts'
