import type { TSchema } from 'typebox'
import { Errors } from 'typebox/value'
import { VitalsOptionError, shown } from './errors.ts'

/**
 * JSON schema of one option, with what we add to it: `env`, the environment variable that sets it,
 * and `x-kind`, for values that JSON can't describe (functions and instances).
 */
interface OptionSchema {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly env?: string
  readonly 'x-kind'?: 'function' | 'instance'
  readonly properties?: Readonly<Record<string, OptionSchema>>
  readonly anyOf?: readonly { readonly const?: unknown; readonly type?: string }[]
  readonly items?: OptionSchema
  readonly minimum?: number
  readonly exclusiveMinimum?: number
  readonly maximum?: number
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Completes and checks a plugin's options: what was given, else the environment variable, else the
 * default. The given object is never changed; the result is frozen.
 *
 * @throws VitalsOptionError naming the option, what was given and what is allowed
 */
export function resolveOptions<Resolved>(
  plugin: string,
  schema: TSchema,
  given: unknown,
  environment: Environment = process.env
): Resolved {
  if (given !== undefined && (typeof given !== 'object' || given === null)) {
    throw new VitalsOptionError(plugin, 'options', `must be an object, got ${shown(given)}`)
  }
  // typebox schemas are plain JSON schema at run time; this is the one place where we read them so
  const root = schema as unknown as OptionSchema
  const resolved = complete(plugin, root, (given ?? {}) as Record<string, unknown>, '', environment)
  checkJson(plugin, schema, resolved)
  return deepFreeze(resolved, root) as Resolved
}

function complete(
  plugin: string,
  schema: OptionSchema,
  given: Readonly<Record<string, unknown>>,
  prefix: string,
  environment: Environment
): Record<string, unknown> {
  const known = schema.properties ?? {}
  refuseUnknown(plugin, known, given, prefix)
  const resolved: Record<string, unknown> = {}
  for (const [name, option] of Object.entries(known)) {
    const path = prefix + name
    const value = given[name] ?? fromEnvironment(plugin, path, option, environment)
    const chosen = value === undefined ? structuredClone(option.default) : value
    if (option.properties !== undefined && (chosen === undefined || isRecord(chosen))) {
      resolved[name] = complete(plugin, option, chosen ?? {}, `${path}.`, environment)
    } else if (chosen !== undefined) {
      checkKind(plugin, path, option, chosen)
      resolved[name] = Array.isArray(chosen) ? [...chosen] : chosen
    }
  }
  return resolved
}

function refuseUnknown(
  plugin: string,
  known: Readonly<Record<string, unknown>>,
  given: Readonly<Record<string, unknown>>,
  prefix: string
): void {
  for (const name of Object.keys(given)) {
    // Fastify adds these to the options of every registration
    if (prefix === '' && (name === 'prefix' || name === 'logLevel' || name === 'logSerializers')) {
      continue
    }
    if (!Object.hasOwn(known, name)) {
      const allowed = Object.keys(known).join(', ')
      throw new VitalsOptionError(plugin, prefix + name, `is unknown; allowed: ${allowed}`)
    }
  }
}

function fromEnvironment(
  plugin: string,
  path: string,
  option: OptionSchema,
  environment: Environment
): unknown {
  const text = option.env === undefined ? undefined : environment[option.env]
  if (text === undefined || text === '') return undefined
  const value = parsed(text, option)
  if (value === undefined) {
    throw new VitalsOptionError(
      plugin,
      path,
      `from the environment variable ${option.env} must be ${allowedBy(option)}, got ${shown(text)}`
    )
  }
  return value
}

function parsed(text: string, option: OptionSchema): unknown {
  if (option.type === 'boolean') return { true: true, false: false }[text]
  if (option.type !== 'number' && option.type !== 'integer') return text
  const value = Number(text)
  return Number.isFinite(value) ? value : undefined
}

function checkKind(plugin: string, path: string, option: OptionSchema, value: unknown): void {
  const kind = option['x-kind']
  if (kind === 'function' && typeof value !== 'function') {
    throw new VitalsOptionError(plugin, path, `must be a function, got ${shown(value)}`)
  }
  if (kind === 'instance' && (typeof value !== 'object' || value === null)) {
    throw new VitalsOptionError(plugin, path, `must be an object instance, got ${shown(value)}`)
  }
}

function checkJson(plugin: string, schema: TSchema, value: Record<string, unknown>): void {
  const [error] = Errors(schema, value)
  if (error === undefined) return
  const path = error.instancePath.split('/').slice(1)
  const { option, at } = locate(schema, path)
  const given = at.reduce<unknown>((part, key) => (isRecord(part) ? part[key] : undefined), value)
  throw new VitalsOptionError(
    plugin,
    at.join('.'),
    `must be ${allowedBy(option)}, got ${shown(given)}`
  )
}

/** The deepest named option on the way to an error; an item of an array is told as its array. */
function locate(root: OptionSchema, path: string[]): { option: OptionSchema; at: string[] } {
  let option = root
  const at: string[] = []
  for (const key of path) {
    const next = option.properties?.[key]
    if (next === undefined) break
    option = next
    at.push(key)
  }
  return { option, at }
}

function allowedBy(option: OptionSchema): string {
  if (option.anyOf !== undefined) {
    return `one of ${option.anyOf.map((choice) => (choice.const === undefined ? `a ${choice.type}` : shown(choice.const))).join(', ')}`
  }
  const limits: string[] = []
  if (option.minimum !== undefined) limits.push(`>= ${option.minimum}`)
  if (option.exclusiveMinimum !== undefined) limits.push(`> ${option.exclusiveMinimum}`)
  if (option.maximum !== undefined) limits.push(`<= ${option.maximum}`)
  const bounds = limits.length === 0 ? '' : ` ${limits.join(' and ')}`
  if (option.type === 'array') {
    return `a list${option.items === undefined ? '' : `, each item ${allowedBy(option.items)}`}`
  }
  const article = /^[aeiou]/.test(option.type ?? '') ? 'an' : 'a'
  return `${article} ${option.type ?? 'value'}${bounds}${option.description === undefined ? '' : ` (${option.description})`}`
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function deepFreeze(value: Record<string, unknown>, schema: OptionSchema): Record<string, unknown> {
  for (const [name, option] of Object.entries(schema.properties ?? {})) {
    const part = value[name]
    if (option.properties !== undefined && isRecord(part)) deepFreeze(part, option)
    else if (Array.isArray(part)) Object.freeze(part)
  }
  return Object.freeze(value)
}
