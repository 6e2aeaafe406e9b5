import { setTimeout as wait } from 'node:timers/promises'

/**
 * Asks until the answer is something, for what happens in its own time.
 * @throws Error when nothing came in time
 */
export async function eventually<Answer>(
  ask: () => Answer | undefined | false | Promise<Answer | undefined | false>,
  withinMs: number = 5000
): Promise<Answer> {
  const endMs = performance.now() + withinMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== false) return answer
    if (performance.now() > endMs) throw new Error(`nothing came within ${withinMs} ms`)
    await wait(20)
  }
}
