import { eventually, served } from '@fastify-vitals/testing'
import t from 'tap'
import type { Test } from 'tap'
import { appWith, ask, jsonText, view } from './clients.ts'
import type { Answer } from './clients.ts'

const BR = { headers: { 'accept-encoding': 'br' } }
const BURN_MS = 20

/** Keeps the event loop busy with computing, turn after turn. @returns what ends it */
function burn(t: Test): () => void {
  let isBurning = true
  const turn = (): void => {
    const untilMs = performance.now() + BURN_MS
    while (performance.now() < untilMs);
    if (isBurning) setImmediate(turn)
  }
  turn()
  const stop = (): void => {
    isBurning = false
  }
  t.teardown(stop)
  return stop
}

async function busyApp(
  t: Test,
  skipAbove: number
): Promise<{ get: () => Promise<Answer>; reaches: (state: string) => Promise<void> }> {
  const app = await appWith(t, {
    adaptive: true,
    loadSampleMs: 50,
    restoreBelow: 0.6,
    skipAbove,
    levels: { br: 9 },
    cacheBytes: 0
  })
  const body = jsonText(50_000)
  app.get('/items', (_request, reply) => reply.type('application/json').send(body))
  const { origin } = await served(app)
  return {
    get: async () => await ask(origin, '/items', BR),
    reaches: async (state) => {
      await eventually(() => view(app).load.state === state, 20_000)
    }
  }
}

t.test('a busy process compresses at the cheapest level, a calm one in full again', async (t) => {
  const { get, reaches } = await busyApp(t, 1)
  const calm = await get()
  const stop = burn(t)
  await reaches('saturated')
  const busy = await get()
  t.equal(busy.headers['content-encoding'], 'br')
  t.ok(busy.body.length > calm.body.length, `${busy.body.length} bytes, not ${calm.body.length}`)
  stop()
  await reaches('normal')
  t.equal((await get()).body.length, calm.body.length)
})

t.test('a process at its limit compresses nothing', async (t) => {
  const { get, reaches } = await busyApp(t, 0.9)
  const stop = burn(t)
  await reaches('severe')
  const { headers } = await get()
  t.equal(headers['content-encoding'], undefined)
  t.equal(headers.vary, 'accept-encoding')
  stop()
  await reaches('normal')
  t.equal((await get()).headers['content-encoding'], 'br')
})
