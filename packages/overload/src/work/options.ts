import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { isAbsolute } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { VitalsOptionError, wholeNumber } from '@fastify-vitals/metrics'
import Type from 'typebox'

/** Where a task's function is. */
export interface WorkTaskOptions {
  /** A `file:` URL, or an absolute path. */
  file: string | URL
  /** Name of what the module exports; default `default`. */
  name?: string
}

export interface WorkThreadOptions {
  tasks?: Record<string, WorkTaskOptions>
  /** Default: processors less one, at least 1. */
  maxThreads?: number
  maxQueue?: number
  idleTimeoutMs?: number
  maxHeapMb?: number
  execArgv?: readonly string[]
}

/** Option `work` of `@fastify-vitals/overload`. */
export interface WorkOptions {
  maxConcurrent?: number
  maxQueue?: number
  agingMs?: number
  deadlineMs?: number | false
  drainMs?: number
  maxNames?: number
  threads?: WorkThreadOptions
}

/** The same with every default of {@link workOptionsSchema} in place. */
export type ResolvedWorkOptions = Readonly<Required<Omit<WorkOptions, 'threads'>>> & {
  readonly threads: Readonly<
    Required<Pick<WorkThreadOptions, 'maxQueue' | 'idleTimeoutMs'>> & WorkThreadOptions
  >
}

const LONGEST_MS = 2 ** 31 - 1

const milliseconds = (
  description: string,
  value: number,
  minimum: number = 0
): Type.TOptional<Type.TNumber> =>
  Type.Optional(Type.Number({ minimum, maximum: LONGEST_MS, default: value, description }))

const taskSchema = Type.Object(
  {
    file: Type.Unsafe<string | URL>({
      'x-kind': 'string, file: URL',
      description: 'module with the function: a file: URL or an absolute path'
    }),
    name: Type.Optional(
      Type.String({ minLength: 1, default: 'default', description: 'what the module exports' })
    )
  },
  { additionalProperties: false }
)

const threadsSchema = Type.Object(
  {
    tasks: Type.Optional(
      Type.Record(Type.String({ pattern: '^.{1,128}$' }), taskSchema, {
        description: 'functions that run on worker threads, by name'
      })
    ),
    maxThreads: wholeNumber(
      'most worker threads; without it processors less one, at least 1',
      1,
      1024
    ),
    maxQueue: wholeNumber('most tasks that wait', 0, 1_000_000, 100),
    idleTimeoutMs: milliseconds('a thread with nothing to do ends after so many ms', 30_000),
    maxHeapMb: wholeNumber('a thread that needs more megabytes of heap dies, alone', 8, 1_048_576),
    execArgv: Type.Optional(
      Type.Array(Type.String(), {
        maxItems: 100,
        description:
          'flags of Node.js for threads, such as --import; without it those of the process'
      })
    )
  },
  { additionalProperties: false }
)

/** The option `work`: types, limits, defaults. */
export const workOptionsSchema: Type.TObject = Type.Object(
  {
    maxConcurrent: wholeNumber('most jobs at work at once', 1, 100_000, 16),
    maxQueue: wholeNumber('most jobs that wait', 0, 1_000_000, 1000),
    agingMs: milliseconds('a job that waited so many ms counts as one priority higher', 5000, 1),
    deadlineMs: Type.Optional(
      Type.Unsafe<number | false>({
        anyOf: [{ type: 'number', exclusiveMinimum: 0, maximum: LONGEST_MS }, { const: false }],
        'x-kind': 'number > 0, or false',
        default: 60_000,
        description:
          'time for a job or task that says no other, the wait in the queue included; false: no limit'
      })
    ),
    drainMs: milliseconds('at close, time for what is under way before it is aborted', 10_000),
    maxNames: wholeNumber('most names of jobs in metrics; others share _OTHER', 1, 10_000, 100),
    threads: Type.Optional(threadsSchema)
  },
  { additionalProperties: false }
)

/** A declared task, checked. */
export interface DeclaredTask {
  /** URL of the module. */
  readonly filename: string
  readonly exportName: string
}

/**
 * @param where plugin and option, for errors
 * @throws VitalsOptionError when a file is not there
 */
export function declaredTasks(
  where: string,
  { tasks = {} }: WorkThreadOptions
): ReadonlyMap<string, DeclaredTask> {
  return new Map(
    Object.entries(tasks).map(([task, { file, name = 'default' }]) => [
      task,
      { filename: moduleUrl(where, `work.threads.tasks.${task}.file`, file), exportName: name }
    ])
  )
}

function moduleUrl(where: string, option: string, file: unknown): string {
  const url = asFileUrl(file)
  if (url === undefined) {
    const problem = `must be a file: URL or an absolute path, got ${given(file)}`
    throw new VitalsOptionError(where, option, problem)
  }
  if (!existsSync(fileURLToPath(url))) {
    throw new VitalsOptionError(where, option, `must be a file that exists, got ${given(file)}`)
  }
  return url.href
}

function asFileUrl(file: unknown): URL | undefined {
  if (file instanceof URL) return file.protocol === 'file:' ? file : undefined
  if (typeof file !== 'string') return undefined
  if (isAbsolute(file)) return pathToFileURL(file)
  return file.startsWith('file:') && URL.canParse(file) ? new URL(file) : undefined
}

function given(file: unknown): string {
  if (file instanceof URL) return file.href
  return typeof file === 'string' ? `"${file}"` : `a value of type ${typeof file}`
}

export function threadsAllowed({ maxThreads }: WorkThreadOptions): number {
  return maxThreads ?? Math.max(1, availableParallelism() - 1)
}
