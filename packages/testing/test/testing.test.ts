import Fastify from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import {
  ManualClock,
  eventually,
  pluginProblems,
  rawExchange,
  served,
  skipOrFail,
  startRedis
} from '../src/index.ts'

const nothing = { validOptions: {}, badOptions: [] }

t.test('a plugin that behaves has no problems', async (t) => {
  t.same(
    await pluginProblems(
      fp(async () => {}),
      nothing
    ),
    []
  )
})

t.test('a plugin that misbehaves is caught', async (t) => {
  const timers: NodeJS.Timeout[] = []
  const leaks = fp(async () => void timers.push(setInterval(() => {}, 1000)))
  t.match(await pluginProblems(leaks, nothing), [/^after close \d of Timeout are alive/])
  for (const timer of timers) clearInterval(timer)
  const changes = fp(async (app) => {
    app.addHook('onSend', async (_request, reply) => void reply.header('x-mine', '1'))
  })
  t.match(
    (await pluginProblems(changes, nothing)).join('\n'),
    /the response of \/json was .* and is now/
  )
  const badOptions = [{ options: { a: 1 }, message: /a must/ }]
  const accepts = fp(async () => {})
  t.same(await pluginProblems(accepts, { validOptions: {}, badOptions }), [
    'bad options {"a":1} were accepted'
  ])
  const mutates = fp(async (_app, options: { a?: number }) => void (options.a = 2))
  t.match(await pluginProblems(mutates, { validOptions: {}, badOptions: [] }), [
    'the options it was given were changed'
  ])
})

t.test('a clock stands still until it is moved', async (t) => {
  const clock = new ManualClock()
  clock.advance(5)
  t.equal(clock.now(), 5)
})

t.test('waiting gives up and says so', async (t) => {
  await t.rejects(
    eventually(() => undefined, 50),
    /nothing came within 50 ms/
  )
  t.equal(await eventually(() => 3), 3)
})

t.test('bytes go over a socket as they are', async (t) => {
  const app = Fastify()
  app.get('/', async () => 'hello')
  const { port } = await served(app)
  t.match(
    await rawExchange(port, 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'),
    /200 OK[^]*hello$/
  )
  await app.close()
})

t.test('a Redis can be killed, paused and brought back', async (t) => {
  const redis = await startRedis()
  if (redis === undefined) return skipOrFail(t, 'redis-server is not installed')
  t.teardown(async () => await redis.stop())
  const ping = async (): Promise<string> => await rawExchange(redis.port, 'PING\r\n', 300)
  t.equal(await ping(), '+PONG\r\n')
  redis.pause()
  t.equal(await ping(), '')
  redis.resume()
  t.equal(await ping(), '+PONG\r\n')
  await redis.kill()
  t.equal(await ping(), '')
  await redis.restart()
  t.equal(await ping(), '+PONG\r\n')
})
