import type { TSchema } from 'typebox'
import type { TLocalizedValidationError } from 'typebox/error'
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
  readonly required?: readonly string[]
  readonly patternProperties?: Readonly<Record<string, OptionSchema>>
  readonly anyOf?: readonly OptionSchema[]
  readonly const?: unknown
  readonly items?: OptionSchema
  readonly minimum?: number
  readonly exclusiveMinimum?: number
  readonly maximum?: number
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Completes and checks a plugin's options: what was given, else the environment variable, else the
 * default; also inside of objects, lists of objects, and objects by name. The given object is never
 * changed; the result is frozen.
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
    const whole = chosen ?? emptyOf(option)
    if (whole === undefined) continue
    checkKind(plugin, path, option, whole)
    resolved[name] = completeValue(plugin, option, whole, path, environment)
  }
  return resolved
}

/** What stands for a group of options that was not given; a group with required ones is left out. */
function emptyOf({ properties, required }: OptionSchema): object | undefined {
  return properties !== undefined && (required ?? []).length === 0 ? {} : undefined
}

/** Completes what is inside of a value; a list or an object comes out as a copy. */
function completeValue(
  plugin: string,
  option: OptionSchema,
  value: unknown,
  path: string,
  environment: Environment
): unknown {
  if (Array.isArray(value)) {
    return value.map((item, i) =>
      completeValue(plugin, option.items ?? {}, item, `${path}[${i}]`, environment)
    )
  }
  if (!isRecord(value)) return value
  const shape = shapeOf(option)
  if (shape?.properties !== undefined) {
    return complete(plugin, shape, value, `${path}.`, environment)
  }
  const named = namedSchema(shape)
  if (named === undefined) return value
  const entries = Object.entries(value).map(([key, each]) => [
    key,
    completeValue(plugin, named, each, `${path}.${key}`, environment)
  ])
  return Object.fromEntries(entries) as Record<string, unknown>
}

/** The schema that says what an object looks like: the option's own, or one of its choices. */
function shapeOf(option: OptionSchema): OptionSchema | undefined {
  const isShape = (each: OptionSchema): boolean =>
    each.properties !== undefined || each.patternProperties !== undefined
  return isShape(option) ? option : option.anyOf?.find(isShape)
}

/** What all values of an object by name look like. */
function namedSchema(shape: OptionSchema | undefined): OptionSchema | undefined {
  return Object.values(shape?.patternProperties ?? {})[0]
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
  // of a choice every branch complains; the one that looked deepest knows what was meant
  const problems = Errors(schema, value)
    .map(pathOf)
    .toSorted((a, b) => b.length - a.length)
    .map((path) => locate(schema, path, value))
  const problem = problems.find(({ option, given }) => !isWantedFunction(option, given))
  if (problem === undefined) return
  const { option, name, given } = problem
  throw new VitalsOptionError(plugin, name, `must be ${allowedBy(option)}, got ${shown(given)}`)
}

/** Where an error is; of one that something is missing, where it would be. */
function pathOf({ instancePath, keyword, params }: TLocalizedValidationError): string[] {
  const path = instancePath.split('/').slice(1).map(unescapePointer)
  return keyword === 'required' ? [...path, params.requiredProperties[0]!] : path
}

/** JSON schema knows no functions: a choice of one is written as a schema that matches nothing. */
function isWantedFunction({ anyOf }: OptionSchema, given: unknown): boolean {
  return (
    typeof given === 'function' && anyOf?.some((each) => each['x-kind'] === 'function') === true
  )
}

/** The deepest option that is described on the way to an error. */
function locate(
  root: OptionSchema,
  keys: readonly string[],
  value: unknown
): { option: OptionSchema; name: string; given: unknown } {
  let option = root
  let name = ''
  let given = value
  for (const key of keys) {
    const next = partOf(option, key, given)
    if (next === undefined) break
    option = next
    name += Array.isArray(given) ? `[${key}]` : name === '' ? key : `.${key}`
    given = (given as Record<string, unknown>)[key]
  }
  return { option, name, given }
}

/** The schema of one part of a value; an item of a list of plain values is told as its list. */
function partOf(option: OptionSchema, key: string, value: unknown): OptionSchema | undefined {
  if (Array.isArray(value)) {
    return shapeOf(option.items ?? {}) === undefined ? undefined : option.items
  }
  const shape = shapeOf(option)
  return shape?.properties?.[key] ?? namedSchema(shape)
}

/** @see RFC 6901 */
function unescapePointer(part: string): string {
  return part.replaceAll('~1', '/').replaceAll('~0', '~')
}

function allowedBy(option: OptionSchema): string {
  if (option.anyOf !== undefined) {
    return `one of ${option.anyOf.map(shownChoice).join(', ')}`
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
  return `${article} ${option.type ?? 'value'}${bounds}${!option.description ? '' : ` (${option.description})`}`
}

function shownChoice(choice: OptionSchema): string {
  if (choice.const !== undefined) return shown(choice.const)
  return choice['x-kind'] === 'function' ? 'a function' : allowedBy({ ...choice, description: '' })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function deepFreeze(value: Record<string, unknown>, schema: OptionSchema): Record<string, unknown> {
  const shape = shapeOf(schema)
  for (const [key, part] of Object.entries(value)) {
    const option = shape?.properties?.[key] ?? namedSchema(shape)
    if (option !== undefined) freezeValue(part, option)
  }
  return Object.freeze(value)
}

function freezeValue(value: unknown, option: OptionSchema): void {
  if (Array.isArray(value)) {
    for (const item of value) freezeValue(item, option.items ?? {})
    Object.freeze(value)
  } else if (isRecord(value) && shapeOf(option) !== undefined) {
    deepFreeze(value, option)
  }
}
