import { VitalsOptionError, resolveOptions } from '@fastify-vitals/metrics'
import { clientSchema, optionsSchema, policySchema } from './option-schema.ts'
import type {
  ClientOptions,
  ClientPolicyOptions,
  HttpClientOptions,
  ResolvedClientOptions,
  ResolvedHedging,
  ResolvedHttpClientOptions,
  ResolvedRetry
} from './option-types.ts'
import { SsrfGuard } from './policies/ssrf-guard.ts'
import { hedgeSchema, retrySchema } from './policy-schema.ts'
import { PRESETS } from './presets.ts'

export { optionsSchema }

export const NAME = '@fastify-vitals/http-client'

/** For a call that wants what its client doesn't do. */
export const RETRY_DEFAULTS: ResolvedRetry = resolveOptions(NAME, retrySchema, {})
export const HEDGING_DEFAULTS: ResolvedHedging = resolveOptions(NAME, hedgeSchema, {})

/** @throws VitalsOptionError naming the option, what was given and what is allowed */
export function resolvePluginOptions(given: unknown): ResolvedHttpClientOptions {
  const { clients, defaults } = (given ?? {}) as HttpClientOptions
  for (const [name, client] of Object.entries(clients ?? {})) {
    // said here, because the schema would only say that the client as a whole is wrong
    if (client?.origins === undefined) {
      throw new VitalsOptionError(NAME, `clients.${name}.origins`, 'must be given')
    }
  }
  const resolved = resolveOptions<ResolvedHttpClientOptions>(NAME, optionsSchema, given)
  resolveOptions(`${NAME}: defaults`, policySchema, layered([defaults ?? {}]))
  return resolved
}

/**
 * What a client was given, over its preset, over the plugin's defaults, over theirs.
 * @throws VitalsOptionError naming the client, the option, what was given and what is allowed
 */
export function resolveClientOptions(
  name: string,
  defaults: ClientPolicyOptions,
  given: ClientOptions
): ResolvedClientOptions {
  const where = `${NAME}: client "${name}"`
  if (name === '')
    throw new VitalsOptionError(NAME, 'clients', 'must have names that are not empty')
  const preset = PRESETS[given.preset ?? 'default'] ?? {}
  const base = PRESETS[defaults.preset ?? 'default'] ?? {}
  const resolved = resolveOptions<ResolvedClientOptions>(
    where,
    clientSchema,
    layered([base, defaults, preset, given])
  )
  checkOrigins(where, resolved)
  return resolved
}

/** Later ones over earlier ones, groups option by option. */
function layered(layers: readonly object[]): Record<string, unknown> {
  const merged: Record<string, unknown> = {}
  for (const layer of layers) {
    for (const [option, value] of Object.entries(layer)) {
      if (value === undefined) continue
      const below = merged[option]
      merged[option] = isGroup(value) && isGroup(below) ? { ...below, ...value } : value
    }
  }
  return merged
}

function isGroup(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function checkOrigins(where: string, { origins, ssrfGuard }: ResolvedClientOptions): void {
  const guard = ssrfGuard === false ? undefined : new SsrfGuard(ssrfGuard)
  for (const origin of origins) {
    if (originOf(origin) === undefined) {
      const problem = 'must be origins such as http://host:port, without path and credentials'
      throw new VitalsOptionError(where, 'origins', `${problem}, got "${origin}"`)
    }
    try {
      guard?.checkUrl(origin)
    } catch (error) {
      throw new VitalsOptionError(where, 'origins', `must be public: ${(error as Error).message}`)
    }
  }
  if (new Set(origins.map(originOf)).size !== origins.length) {
    throw new VitalsOptionError(where, 'origins', `must differ, got "${origins.join('", "')}"`)
  }
}

/** The origin in its usual form; `undefined` when it is none of HTTP. */
function originOf(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined
  const { protocol, username, password, pathname, search, hash, origin } = new URL(text)
  const isPlain = username + password + search + hash === '' && pathname === '/'
  return isPlain && (protocol === 'http:' || protocol === 'https:') ? origin : undefined
}
