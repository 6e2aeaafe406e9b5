import { Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { served } from './sockets.ts'

export interface ConformanceOptions<Options extends object> {
  readonly validOptions: Options
  /** Options to refuse, each with what the message must say. */
  readonly badOptions: readonly { readonly options: unknown; readonly message: RegExp }[]
}

type Plugin<Options extends object> = FastifyPluginAsync<Options>

/**
 * What every plugin of the house must do: refuse bad options at registration and name them, leave
 * the caller's options and everybody's responses as they were, work in a nested scope and in two
 * apps at once, and leave nothing alive after `close`.
 *
 * @returns what is wrong, one sentence a fault; nothing when all is well
 */
export async function pluginProblems<Options extends object>(
  plugin: Plugin<Options>,
  options: ConformanceOptions<Options>
): Promise<string[]> {
  return [
    ...(await refusals(plugin, options.badOptions)),
    ...(await changedOptions(plugin, options.validOptions)),
    ...(await changedResponses(plugin, options.validOptions)),
    ...(await nestedProblems(plugin, options.validOptions)),
    ...(await leftovers(plugin, options.validOptions))
  ]
}

async function refusals<Options extends object>(
  plugin: Plugin<Options>,
  bad: ConformanceOptions<Options>['badOptions']
): Promise<string[]> {
  const problems: string[] = []
  for (const { options, message } of bad) {
    const app = Fastify()
    const error = await registerError(app, plugin, options)
    await app.close()
    const what = JSON.stringify(options)
    if (error === undefined) problems.push(`bad options ${what} were accepted`)
    else if (!message.test(error)) problems.push(`bad options ${what} were refused with "${error}"`)
  }
  return problems
}

async function registerError<Options extends object>(
  app: FastifyInstance,
  plugin: Plugin<Options>,
  options: unknown
): Promise<string | undefined> {
  try {
    await app.register(plugin, options as never)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

async function changedOptions<Options extends object>(
  plugin: Plugin<Options>,
  valid: Options
): Promise<string[]> {
  const given = { ...valid }
  const app = Fastify()
  await app.register(plugin, given as never)
  await app.close()
  const isSame = Object.entries(given).every(
    ([key, value]) => valid[key as keyof Options] === value
  )
  return isSame && Object.keys(given).length === Object.keys(valid).length
    ? []
    : ['the options it was given were changed']
}

async function changedResponses<Options extends object>(
  plugin: Plugin<Options>,
  valid: Options
): Promise<string[]> {
  const [plain, plugged] = [await responses(), await responses(plugin, valid)]
  return Object.keys(plain)
    .filter((path) => plain[path] !== plugged[path])
    .map((path) => `the response of ${path} was ${plain[path]} and is now ${plugged[path]}`)
}

/** What an app answers over a real socket, without the date. */
async function responses<Options extends object>(
  plugin?: Plugin<Options>,
  options?: Options
): Promise<Record<string, string>> {
  const app = Fastify()
  if (plugin !== undefined) await app.register(plugin, options as never)
  app.get('/json', async () => ({ a: 1 }))
  app.post('/echo', async (request) => request.body)
  app.get('/stream', async (_request, reply) => reply.send(Readable.from(['some', 'thing'])))
  app.get('/empty', async (_request, reply) => reply.code(204).send())
  app.get('/error', async () => {
    throw new Error('as it should')
  })
  const { origin } = await served(app)
  const asked = ['/json', '/stream', '/empty', '/error', '/no-such-page']
  const answers: Record<string, string> = {}
  for (const path of asked) answers[path] = await tell(await fetch(origin + path))
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"b":2}' }
  answers['/echo'] = await tell(await fetch(`${origin}/echo`, post))
  await app.close()
  return answers
}

async function tell(response: Response): Promise<string> {
  const headers = [...response.headers].filter(([name]) => name !== 'date')
  return JSON.stringify([response.status, headers, await response.text()])
}

async function nestedProblems<Options extends object>(
  plugin: Plugin<Options>,
  valid: Options
): Promise<string[]> {
  const apps = [Fastify(), Fastify()]
  const problems: string[] = []
  for (const app of apps) {
    await app.register(async (scope) => {
      await scope.register(plugin, { ...valid } as never)
      scope.get('/nested', async () => 'ok')
    })
    app.get('/outside', async () => 'ok')
  }
  for (const app of apps) {
    for (const url of ['/nested', '/outside']) {
      const { statusCode } = await app.inject(url)
      if (statusCode !== 200) problems.push(`in a nested scope, ${url} answers ${statusCode}`)
    }
  }
  await Promise.all(apps.map(async (app) => await app.close()))
  return problems
}

async function leftovers<Options extends object>(
  plugin: Plugin<Options>,
  valid: Options
): Promise<string[]> {
  const before = await resources()
  const app = Fastify()
  await app.register(plugin, { ...valid } as never)
  app.get('/', async () => 'ok')
  await app.ready()
  await app.inject('/')
  await app.close()
  const after = await resources()
  return Object.entries(after)
    .filter(([type, count]) => count > (before[type] ?? 0))
    .map(
      ([type, count]) =>
        `after close ${count} of ${type} are alive, before there were ${before[type] ?? 0}`
    )
}

async function resources(): Promise<Record<string, number>> {
  for (let i = 0; i < 5; i++) await nextTurn()
  const counts: Record<string, number> = {}
  for (const type of process.getActiveResourcesInfo()) {
    // what this very look needs, and idle connections of the client that has just asked
    if (type === 'Immediate' || type === 'TCPSocketWrap') continue
    counts[type] = (counts[type] ?? 0) + 1
  }
  return counts
}
