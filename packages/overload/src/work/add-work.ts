import { VitalsDeclarationError } from '@fastify-vitals/metrics'
import type { Vitals } from '@fastify-vitals/metrics'
import type { FastifyInstance } from 'fastify'
import { workDetector } from './detector.ts'
import { declaredTasks } from './options.ts'
import type { ResolvedWorkOptions } from './options.ts'
import { workView } from './view.ts'
import { WorkDesk } from './work-desk.ts'
import { WorkMetrics, showFigures } from './work-metrics.ts'
import type { Work } from './work-types.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Work beside the requests, bounded: jobs on this thread, tasks on worker threads. */
    work: Work
  }
}

const NAME = '@fastify-vitals/overload'

/** The work pool of each hub, which scopes beside each other share. */
const DESKS = new WeakMap<Vitals, WorkDesk>()

/**
 * Puts the work pool at `app.work`, its metrics and its view at the hub.
 *
 * @param options completed by {@link workOptionsSchema}
 * @throws VitalsOptionError when a task's file is not there
 * @throws VitalsDeclarationError when the app has one already
 */
export function addWork(app: FastifyInstance, vitals: Vitals, options: ResolvedWorkOptions): Work {
  if (app.hasDecorator('work')) {
    throw new VitalsDeclarationError(`${NAME}: there is already an app.work here`)
  }
  const desk = DESKS.get(vitals) ?? deskOf(app, vitals, options)
  app.decorate('work', desk)
  return desk
}

function deskOf(app: FastifyInstance, vitals: Vitals, options: ResolvedWorkOptions): WorkDesk {
  const tasks = declaredTasks(NAME, options.threads)
  const metrics = new WorkMetrics(vitals, options.maxNames)
  let isLogged = false
  const desk = new WorkDesk(options, {
    now: () => performance.now(),
    meterOf: metrics.meterOf,
    tasks,
    onThreadFault(error) {
      metrics.threadFailed()
      if (isLogged) return
      isLogged = true
      app.log.warn(
        { err: error },
        `${NAME}: an error in a worker thread that belongs to no task; this is logged once`
      )
    }
  })
  showFigures(vitals, () => desk.figures)
  vitals.views.add(workView(() => desk.figures, metrics.meters))
  vitals.detectors.add(
    workDetector(
      () => desk.figures,
      () => metrics.meters.keys()
    )
  )
  app.addHook('preClose', async () => await desk.drain())
  app.addHook('onClose', async () => await desk.close())
  DESKS.set(vitals, desk)
  return desk
}
