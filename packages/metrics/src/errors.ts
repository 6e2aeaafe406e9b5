/** Base of every error this family of plugins throws. `code` is stable; messages may improve. */
export class VitalsError extends Error {
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'VitalsError'
    this.code = code
  }
}

/** A plugin was given an option it can't work with. Thrown while registering, never at a request. */
export class VitalsOptionError extends VitalsError {
  /** Path of the option, such as `history.maxBytes`. */
  readonly option: string

  constructor(plugin: string, option: string, problem: string) {
    super('VITALS_OPTION_INVALID', `${plugin}: option "${option}" ${problem}`)
    this.name = 'VitalsOptionError'
    this.option = option
  }
}

/** A metric, label, view, detector or action was declared wrongly or twice. */
export class VitalsDeclarationError extends VitalsError {
  constructor(message: string) {
    super('VITALS_DECLARATION_INVALID', message)
    this.name = 'VitalsDeclarationError'
  }
}

/** Short, safe rendering of a given value for an error message. */
export function shown(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'bigint' || typeof value === 'symbol') return String(value)
  if (typeof value === 'number' || value === undefined) return String(value)
  if (typeof value === 'object' && value !== null && !isPlain(value)) {
    return `an instance of ${value.constructor?.name ?? 'an unknown class'}`
  }
  const text = safeJson(value)
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null || Array.isArray(value)
}

function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'undefined'
  } catch {
    return 'an object that does not serialise'
  }
}
