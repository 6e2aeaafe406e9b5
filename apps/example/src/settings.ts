/** Where to listen, and what with. */
export interface Settings {
  readonly host: string
  readonly port: number
  readonly adminToken: string | undefined
  readonly databaseUrl: string | undefined
  readonly logLevel: string
}

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']

/** @throws Error that names the variable, what was given and what is allowed */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const port = Number(environment.PORT || 3000)
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new Error(`PORT must be a whole number from 0 to 65535, got "${environment.PORT}"`)
  }
  const logLevel = environment.LOG_LEVEL || 'warn'
  if (!LEVELS.includes(logLevel)) {
    throw new Error(`LOG_LEVEL must be one of ${LEVELS.join(', ')}, got "${logLevel}"`)
  }
  return {
    host: environment.HOST || '127.0.0.1',
    port,
    adminToken: environment.ADMIN_TOKEN || undefined,
    databaseUrl: databaseUrl(environment.DATABASE_URL),
    logLevel
  }
}

function databaseUrl(given: string | undefined): string | undefined {
  if (!given) return undefined
  if (/^postgres(ql)?:\/\//.test(given) && URL.canParse(given)) return given
  // the value may hold a password, so it is not shown
  throw new Error('DATABASE_URL must be a URL like postgres://user@host:5432/name')
}
