import { createHash, timingSafeEqual } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import { VitalsError, VitalsOptionError } from '@fastify-vitals/metrics'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { FAULT_NAMES } from './faults.ts'
import type { FaultName, Faults } from './faults.ts'
import { problem } from './schemas.ts'

const anything = Type.Unsafe<unknown>({})
const named = Type.Object({ name: Type.String({ maxLength: 60 }) })

/** Of an action; most take none. */
const actionBody = Type.Union([Type.Null(), Type.Record(Type.String(), Type.Unknown())])

interface Named {
  Params: { name: string }
}

/** Figures, actions and faults, for whoever has the token. */
export async function adminRoutes(
  app: FastifyInstance,
  { token, faults }: { token: string | undefined; faults: Faults }
): Promise<void> {
  app.addHook('onRequest', async (request, reply) => {
    if (token === undefined) {
      return await refuse(reply, 403, 'admin routes are off: start the app with ADMIN_TOKEN set')
    }
    if (!isAllowed(request, token)) {
      return await refuse(reply, 401, 'send the header Authorization: Bearer <ADMIN_TOKEN>')
    }
  })
  addViews(app)
  addActions(app)
  addFaults(app, faults)
}

function addViews(app: FastifyInstance): void {
  const { views } = app.vitals
  app.get('/views', { schema: { response: { 200: anything } } }, async () => ({
    views: views.list().map(({ name, description }) => ({ name, description }))
  }))
  app.get<Named>(
    '/views/:name',
    { schema: { params: named, response: { 200: anything, 400: problem, 404: problem } } },
    async (request, reply) => {
      const view = views.get(request.params.name)
      if (view === undefined) return await unknown(reply, 'view', request.params.name, views.list())
      try {
        return await view.read(request.query as Record<string, unknown>)
      } catch (error) {
        if (!(error instanceof VitalsOptionError)) throw error
        return await refuse(reply, 400, error.message)
      }
    }
  )
}

function addActions(app: FastifyInstance): void {
  const { actions } = app.vitals
  app.post<Named & { Body: Record<string, unknown> | null }>(
    '/actions/:name',
    {
      schema: {
        params: named,
        body: actionBody,
        response: { 200: anything, 400: problem, 404: problem }
      }
    },
    async (request, reply) => {
      const action = actions.get(request.params.name)
      if (action === undefined) {
        return await unknown(reply, 'action', request.params.name, actions.list())
      }
      try {
        return await action.run(request.body ?? {})
      } catch (error) {
        if (!(error instanceof VitalsError)) throw error
        return await refuse(reply, 400, error.message)
      }
    }
  )
}

function addFaults(app: FastifyInstance, faults: Faults): void {
  const body = Type.Object({ enabled: Type.Boolean() }, { additionalProperties: Type.Number() })
  app.get('/faults', { schema: { response: { 200: anything } } }, async () => ({
    faults: faults.list()
  }))
  app.put<Named & { Body: { enabled: boolean } & Record<string, number> }>(
    '/faults/:name',
    { schema: { params: named, body, response: { 200: anything, 400: problem, 404: problem } } },
    async (request, reply) => {
      const name = request.params.name as FaultName
      if (!FAULT_NAMES.includes(name)) {
        return await unknown(reply, 'fault', name, faults.list())
      }
      const { enabled, ...parameters } = request.body
      if (enabled) faults.enable(name, parameters)
      else faults.disable(name)
      return faults.list().find((fault) => fault.name === name)
    }
  )
}

/** Compares digests, which are equally long whatever was sent, in constant time. */
function isAllowed(request: FastifyRequest, token: string): boolean {
  return timingSafeEqual(digest(request.headers.authorization ?? ''), digest(`Bearer ${token}`))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

async function unknown(
  reply: FastifyReply,
  kind: string,
  name: string,
  known: readonly { readonly name: string }[]
): Promise<FastifyReply> {
  const allowed = known.map((each) => each.name).join(', ')
  return await refuse(
    reply,
    404,
    `there is no ${kind} ${JSON.stringify(name)}; there are: ${allowed}`
  )
}

async function refuse(
  reply: FastifyReply,
  statusCode: number,
  message: string
): Promise<FastifyReply> {
  return await reply.code(statusCode).send({ statusCode, error: STATUS_CODES[statusCode], message })
}
