import { VitalsError } from '@fastify-vitals/metrics'
import type { Action } from '@fastify-vitals/metrics'
import Type from 'typebox'
import type { Breakers, ForcedMode } from './breaker-types.ts'

const parametersSchema = Type.Object({
  name: Type.String({ description: 'name of the breaker' })
})

/** What people may order: open, close, and judge again. */
export function breakerActions(breakers: Breakers): Action[] {
  const action = (name: string, mode: ForcedMode, description: string): Action => ({
    name,
    description,
    parametersSchema,
    run(parameters) {
      const breaker = find(breakers, parameters?.name)
      const before = breaker.state
      breaker.force(mode)
      return { name: breaker.name, state_before: before, state: breaker.state }
    }
  })
  return [
    action('breaker-open', 'open', 'Refuses all calls of a breaker until it is reset or closed'),
    action(
      'breaker-close',
      'closed',
      'Lets all calls of a breaker through until it is reset or opened'
    ),
    action('breaker-reset', 'none', 'Closes a breaker, forgets its window, and lets it judge again')
  ]
}

/** @throws VitalsError `VITALS_BREAKER_UNKNOWN` naming those that there are */
function find(breakers: Breakers, name: unknown): NonNullable<ReturnType<Breakers['get']>> {
  const breaker = typeof name === 'string' ? breakers.get(name) : undefined
  if (breaker !== undefined) return breaker
  const names = breakers.list().map((each) => JSON.stringify(each.name))
  throw new VitalsError(
    'VITALS_BREAKER_UNKNOWN',
    `there is no circuit breaker named ${JSON.stringify(name)}; there are: ${names.join(', ') || 'none'}`
  )
}
