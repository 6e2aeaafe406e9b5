export { rateLimit, rateLimit as default } from './plugin.ts'
export { optionsSchema } from './options.ts'
export type {
  CostSource,
  HeaderStyle,
  KeySource,
  LimitHook,
  RateLimitOptions,
  RateLimitProblem,
  RouteLimitOptions,
  SharedOptions
} from './options.ts'
export type { FixedWindowPolicy, PolicyOptions, TokenBucketPolicy } from './policy.ts'
export type { RedisClient } from './redis-script.ts'
// keeps `app.vitals` typed for those who only import this package
export type { Vitals } from '@fastify-vitals/metrics'
