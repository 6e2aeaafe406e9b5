import circuitBreaker from '@fastify-vitals/circuit-breaker'
import compression from '@fastify-vitals/compression'
import httpClient from '@fastify-vitals/http-client'
import overload from '@fastify-vitals/overload'
import rateLimit from '@fastify-vitals/rate-limit'
import type { FastifyInstance } from 'fastify'

/** What one visitor may ask. */
export const CLIENT_REQUESTS_PER_SECOND = 10
export const CLIENT_BURST = 20

/** Those who look after the shop are never turned away. */
const OURS = ['/health', '/metrics', '/admin/*']

/** What keeps the shop standing. Comes before the routes. */
export async function addProtection(app: FastifyInstance): Promise<void> {
  await app.register(rateLimit, {
    requestsPerSecond: CLIENT_REQUESTS_PER_SECOND,
    burstSize: CLIENT_BURST,
    skipPaths: OURS,
    // whoever asks from this machine without a proxy in between is one of us
    allowList: ['127.0.0.0/8', '::1']
  })
  await app.register(overload, { exempt: OURS })
  await app.register(compression)
  await app.register(circuitBreaker)
  await app.register(httpClient)
}
