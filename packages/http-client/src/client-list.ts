import { VitalsError } from '@fastify-vitals/metrics'
import type { Client } from './client.ts'

/** All clients of an app: by name, so many at most. */
export class ClientList {
  readonly #maxClients: number
  readonly #clients = new Map<string, Client>()

  constructor(maxClients: number) {
    this.#maxClients = maxClients
  }

  get list(): Client[] {
    return [...this.#clients.values()]
  }

  /** @throws VitalsError `VITALS_HTTP_CLIENT_EXISTS`, `VITALS_HTTP_CLIENTS_FULL` */
  add(name: string, make: () => Client): Client {
    if (this.#clients.has(name)) {
      throw new VitalsError(
        'VITALS_HTTP_CLIENT_EXISTS',
        `there is already an HTTP client "${name}"; declare each once, not at each request`
      )
    }
    if (this.#clients.size >= this.#maxClients) {
      throw new VitalsError(
        'VITALS_HTTP_CLIENTS_FULL',
        `there are already ${this.#maxClients} HTTP clients, so "${name}" can't be one; raise maxClients, or declare them once and not at each request`
      )
    }
    const client = make()
    this.#clients.set(name, client)
    return client
  }

  /** @throws VitalsError `VITALS_HTTP_CLIENT_UNKNOWN` */
  get(name: string): Client {
    const client = this.#clients.get(name)
    if (client !== undefined) return client
    const known = [...this.#clients.keys()].join(', ') || 'none'
    throw new VitalsError(
      'VITALS_HTTP_CLIENT_UNKNOWN',
      `there is no HTTP client "${name}"; declared: ${known}`
    )
  }

  async close(graceMs: number): Promise<void> {
    await Promise.all(this.list.map((client) => client.close(graceMs)))
  }
}
