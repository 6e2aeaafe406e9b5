// Nothing here runs: it is right when it compiles, and each @ts-expect-error line really is an error.
import type { FastifyContextConfig, FastifyInstance } from 'fastify'
import type {
  Breaker,
  BreakerCall,
  BreakerState,
  RouteBreakerOptions,
  Transition
} from '../src/index.ts'

interface Order {
  readonly id: number
}

export async function mustCompile(app: FastifyInstance): Promise<void> {
  const order = app.breaker('a', async (id: number, call: BreakerCall): Promise<Order> => {
    call.signal satisfies AbortSignal
    return { id }
  })
  order satisfies Breaker<[number], Order>
  const one: Order = await order.fire(1)
  one.id satisfies number
  // @ts-expect-error the action takes a number
  await order.fire('1')
  // @ts-expect-error the call is given by the breaker
  await order.fire(1, { signal: AbortSignal.abort() })
  // @ts-expect-error the argument is missing
  await order.fire()

  const plain = app.breaker('b', (left: string, right: number) => left.repeat(right), {
    timeoutMs: false,
    fallback: (error, left, right) => `${String(error)} ${left.length + right}`,
    staleMs: 1000,
    staleKey: (left, right) => `${left} ${right}`
  })
  const text: string = await plain.fire('a', 2)
  text.at(0)
  const none = app.breaker('c', async () => {})
  await none.fire()

  // @ts-expect-error a fallback answers with what the action answers with
  app.breaker('d', async () => 1, { fallback: () => 'one' })
  // @ts-expect-error a key is text
  app.breaker('e', async (id: number) => id, { staleMs: 1, staleKey: (id) => id })
  // @ts-expect-error there is no such option
  app.breaker('f', async () => 1, { timeout: 100 })
  // @ts-expect-error nor such a time-out
  app.breaker('g', async () => 1, { timeoutMs: true })
  // @ts-expect-error nor such a mode
  order.force('ajar')
  // @ts-expect-error the state is told, not set
  order.state = 'open'

  order.state satisfies BreakerState
  const leave: () => void = app.breakers.on((transition: Transition) => transition.reason.at(0))
  leave()
}

export function mustCompileOnRoutes(app: FastifyInstance): void {
  app.get('/a', { config: { circuitBreaker: true } }, async (request) => {
    request.breakerCall?.signal satisfies AbortSignal | undefined
    // @ts-expect-error it is null on routes without a breaker
    request.breakerCall.signal.throwIfAborted()
  })
  app.get(
    '/b',
    {
      config: {
        circuitBreaker: {
          timeoutMs: 100,
          fallback: (_error, request, reply) => reply.code(203).send(request.id)
        }
      }
    },
    async () => 'b'
  )
  // @ts-expect-error it is true, false, or options
  'yes' satisfies FastifyContextConfig['circuitBreaker']
  // @ts-expect-error an answer's status tells whether it failed
  ;({ isFailure: () => true }) satisfies RouteBreakerOptions
  // @ts-expect-error there is no such option
  ;({ timeout: 1 }) satisfies RouteBreakerOptions
  // @ts-expect-error a time-out is a number
  ;({ timeoutMs: '1s' }) satisfies RouteBreakerOptions
}

/** What the README shows. */
export async function mustCompileAsShown(app: FastifyInstance): Promise<void> {
  const prices = app.breaker(
    'prices',
    async (item: string, { signal }: BreakerCall) => {
      const response = await fetch(`https://prices.example/${item}`, { signal })
      return await response.text()
    },
    { timeoutMs: 800, maxConcurrent: 50, staleMs: 600_000, staleKey: (item) => item }
  )
  app.get<{ Params: { item: string } }>(
    '/price/:item',
    async (request) => await prices.fire(request.params.item)
  )
}
