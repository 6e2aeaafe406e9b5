import { setTimeout as wait } from 'node:timers/promises'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { Pool } from 'undici'
import type { Faults } from './faults.ts'

const CONNECTIONS = 20
const TIMEOUT_MS = 2000

/** The service that quotes prices did not answer as it should. */
class UpstreamError extends Error {
  /** 504 when it took too long, else 502. */
  readonly statusCode: 502 | 504

  constructor(statusCode: 502 | 504, message: string, options?: ErrorOptions) {
    super(message, options)
    this.statusCode = statusCode
  }
}

/** A service of somebody else, as far as the shop is concerned: quotes a price for a product. */
export interface PriceService {
  /** @throws UpstreamError when there is no good answer in time */
  quote(productId: number): Promise<number>
  close(): Promise<void>
}

/** Starts the service on a free port of this machine, and a client for it. */
export async function startPriceService(faults: Faults): Promise<PriceService> {
  const server = priceServer(faults)
  const address = await server.listen({ port: 0, host: '127.0.0.1' })
  const pool = new Pool(address, {
    connections: CONNECTIONS,
    connect: { timeout: TIMEOUT_MS },
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS
  })
  return {
    quote: async (productId) => await ask(pool, productId),
    close: async () => {
      await pool.destroy()
      await server.close()
    }
  }
}

function priceServer(faults: Faults): FastifyInstance {
  const server = Fastify()
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

async function ask(pool: Pool, productId: number): Promise<number> {
  try {
    const { statusCode, body } = await pool.request({ path: `/prices/${productId}`, method: 'GET' })
    const text = await body.text()
    if (statusCode !== 200) throw new UpstreamError(502, `the price service answered ${statusCode}`)
    return (JSON.parse(text) as { cents: number }).cents
  } catch (error) {
    if (error instanceof UpstreamError) throw error
    const code = (error as NodeJS.ErrnoException).code ?? ''
    const isSlow = code.includes('TIMEOUT')
    throw new UpstreamError(
      isSlow ? 504 : 502,
      isSlow ? 'the price service took too long' : 'the price service is out of reach',
      { cause: error }
    )
  }
}
