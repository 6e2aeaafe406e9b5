export { compression, compression as default } from './plugin.ts'
export { optionsSchema } from './options.ts'
export type {
  CompressionOptions,
  Levels,
  RouteCompressionOptions,
  ShouldCompress
} from './options.ts'
export { ENCODINGS } from './codecs.ts'
export type { Encoding } from './codecs.ts'
export type { DecodeResult, SkipReason } from './compression-metrics.ts'
export { CorruptBodyError, DecodedBodyTooLargeError, UnsupportedEncodingError } from './errors.ts'
// keeps `app.vitals` typed for those who only import this package
export type { Vitals } from '@fastify-vitals/metrics'
