export type { Vitals } from '@fastify-vitals/metrics'
