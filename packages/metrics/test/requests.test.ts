import { setTimeout as wait } from 'node:timers/promises'
import { served } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import t from 'tap'
import { metrics } from '../src/index.ts'
import { RequestPart } from '../src/requests/request-record.ts'

t.test('a part is a union of intervals: work that overlaps counts once', async (t) => {
  const part = new RequestPart()
  part.enter(0)
  part.enter(5)
  part.leave(10)
  part.leave(20)
  part.enter(30)
  t.equal(part.totalMs(35), 25)
  part.leave(40)
  t.equal(part.totalMs(100), 30)
  t.equal(part.count, 3)
  part.leave(50)
  t.equal(part.totalMs(100), 30, 'one leave too many changes nothing')
})

t.test('nobody is followed until a plugin asks for it', async (t) => {
  const app = Fastify()
  await app.register(metrics)
  app.get('/', async () => ({ current: app.vitals.requests.current() ?? null }))
  t.same((await app.inject('/')).json(), { current: null })
  t.equal(app.vitals.requests.started, 0)
  await app.close()
})

t.test("under a hundred requests at once, nobody's figures reach another", async (t) => {
  const app = Fastify()
  await app.register(metrics)
  app.vitals.requests.follow()
  const { requests } = app.vitals
  requests.identifyBy({ tenant: ({ request }) => String(request.headers['x-tenant']) })
  const work = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i++) {
      const part = requests.current()!.part('database')
      part.enter(performance.now())
      await wait(Math.random() * 4)
      requests.current()!.part('database').leave(performance.now())
    }
  }
  app.post<{ Body: { times: number } }>('/work/:id', async ({ body, id }) => {
    await Promise.all([work(body.times), wait(1)])
    const record = requests.current()!
    return {
      isOwn: record.id === id,
      queries: record.queryCount,
      route: record.route.url,
      tenant: record.tenant
    }
  })
  const { origin } = await served(app)
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const times = 1 + (i % 7)
      const response = await fetch(`${origin}/work/${i}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-tenant': `t${i}` },
        body: JSON.stringify({ times })
      })
      const expected = { isOwn: true, queries: times, route: '/work/:id', tenant: `t${i}` }
      return JSON.stringify(await response.json()) === JSON.stringify(expected)
    })
  )
  t.equal(answers.filter(Boolean).length, 100)
  t.equal(requests.inFlight, 0)
  await app.close()
})

t.test('an observer that throws is logged once and harms no request', async (t) => {
  const lines: string[] = []
  const app = Fastify({
    logger: { level: 'warn', stream: { write: (line) => void lines.push(line) } }
  })
  await app.register(metrics)
  app.vitals.requests.observe(() => {
    throw new Error('no')
  })
  app.get('/', async () => 'ok')
  for (let i = 0; i < 3; i++) t.equal((await app.inject('/')).statusCode, 200)
  t.equal(lines.length, 1)
  t.match(lines[0], 'counting a request failed')
  t.equal(app.vitals.requests.inFlight, 0)
  await app.close()
})
