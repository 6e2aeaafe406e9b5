import { setTimeout as wait } from 'node:timers/promises'
import type { HttpClient } from '@fastify-vitals/http-client'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { Faults } from './faults.ts'

const CONNECTIONS = 20
const TIMEOUT_MS = 2000

/** The service that quotes prices answered what makes no price. */
class UpstreamError extends Error {
  readonly statusCode = 502
}

/** A service of somebody else, as far as the shop is concerned: quotes a price for a product. */
export interface PriceService {
  /** @throws an error with a statusCode when there is no good answer in time */
  quote(productId: number): Promise<number>
}

/** Starts the service on a free port of this machine, and declares the shop's client for it. */
export async function startPriceService(
  app: FastifyInstance,
  faults: Faults
): Promise<PriceService> {
  const server = priceServer(faults)
  const address = await server.listen({ port: 0, host: '127.0.0.1' })
  app.addHook('onClose', async () => await server.close())
  const client = app.httpClient('prices', {
    origins: [address],
    connections: CONNECTIONS,
    timeoutMs: TIMEOUT_MS,
    breaker: { consecutiveFailures: 5, openMs: 1000 }
  })
  return { quote: async (productId) => await ask(client, productId) }
}

function priceServer(faults: Faults): FastifyInstance {
  const server = Fastify({ forceCloseConnections: true })
  server.get<{ Params: { id: string } }>('/prices/:id', async (request, reply) => {
    await wait(faults.get('slow-upstream')?.delay_ms ?? 3)
    const failing = faults.get('failing-upstream')
    if (failing !== undefined && Math.random() * 100 < failing.percent!) {
      return await reply.code(500).send()
    }
    return { cents: 100 + ((Number(request.params.id) * 7919) % 50_000) }
  })
  return server
}

async function ask(client: HttpClient, productId: number): Promise<number> {
  const { status, body } = await client.request({ path: `/prices/${productId}` })
  const text = await body.text()
  if (status !== 200) throw new UpstreamError(`the price service answered ${status}`)
  return (JSON.parse(text) as { cents: number }).cents
}
