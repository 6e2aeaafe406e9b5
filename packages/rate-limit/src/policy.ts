import { VitalsOptionError } from '@fastify-vitals/metrics'

/** `requestsPerSecond` go on and on, `burstSize` at once. */
export interface TokenBucketPolicy {
  readonly name?: string
  readonly requestsPerSecond: number
  /** One second's worth when not given. */
  readonly burstSize?: number
}

/** `max` in each window of `windowMs`. Twice as many get through around the seam of two windows. */
export interface FixedWindowPolicy {
  readonly name?: string
  readonly max: number
  readonly windowMs: number
}

export type PolicyOptions = TokenBucketPolicy | FixedWindowPolicy

/** A policy with everything in place. */
export type Policy =
  | {
      readonly kind: 'token-bucket'
      readonly name: string
      readonly tokensPerSecond: number
      /** Most cost at once. */
      readonly size: number
      /** Milliseconds in which a whole quota comes back. */
      readonly windowMs: number
    }
  | {
      readonly kind: 'fixed-window'
      readonly name: string
      readonly size: number
      readonly windowMs: number
    }

/**
 * @param at path of the list in the options, for messages
 * @throws VitalsOptionError for names given twice, and for policies that can never decide anything
 */
export function resolvePolicies(
  plugin: string,
  at: string,
  given: readonly PolicyOptions[]
): readonly Policy[] {
  const policies = given.map((policy, i) => resolvePolicy(policy, i === 0 ? 'default' : `${i + 1}`))
  policies.forEach((policy, i) => {
    for (const other of policies.slice(0, i)) {
      const problem = clash(policy, other)
      if (problem !== undefined) throw new VitalsOptionError(plugin, `${at}[${i}]`, problem)
    }
  })
  return policies
}

function resolvePolicy(given: PolicyOptions, defaultName: string): Policy {
  const name = given.name ?? defaultName
  if ('max' in given) {
    return { kind: 'fixed-window', name, size: given.max, windowMs: given.windowMs }
  }
  const { requestsPerSecond } = given
  const size = given.burstSize ?? Math.max(1, Math.ceil(requestsPerSecond))
  return {
    kind: 'token-bucket',
    name,
    tokensPerSecond: requestsPerSecond,
    size,
    windowMs: (size / requestsPerSecond) * 1000
  }
}

function clash(one: Policy, other: Policy): string | undefined {
  if (one.name === other.name) return `must have a name of its own, got "${one.name}" again`
  const [lax, strict] = isWithin(one, other) ? [other, one] : [one, other]
  if (!isWithin(strict, lax)) return undefined
  return `overlaps: "${strict.name}" always refuses before "${lax.name}" can, so "${lax.name}" must be stricter in something or go`
}

/** Whether what `strict` lets through is always let through by `lax` too. */
function isWithin(strict: Policy, lax: Policy): boolean {
  if (strict.kind === 'token-bucket') {
    if (lax.kind === 'token-bucket') {
      return strict.tokensPerSecond <= lax.tokensPerSecond && strict.size <= lax.size
    }
    return strict.size + (strict.tokensPerSecond * lax.windowMs) / 1000 <= lax.size
  }
  if (lax.kind === 'token-bucket') return false
  const windows = Math.ceil(lax.windowMs / strict.windowMs) + 1
  if (strict.windowMs === lax.windowMs) return strict.size <= lax.size
  return strict.size * windows <= lax.size
}

/** The part of a policy that one of several instances grants by itself; at least one request. */
export function shareOf(policy: Policy, instances: number): Policy {
  if (instances <= 1) return policy
  const size = Math.max(1, Math.floor(policy.size / instances))
  if (policy.kind === 'fixed-window') return { ...policy, size }
  return { ...policy, size, tokensPerSecond: policy.tokensPerSecond / instances }
}
