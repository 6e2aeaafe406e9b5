import { createHash } from 'node:crypto'

/**
 * All policies of a limiter for one key in one round trip: all let the request in, or none takes
 * anything. The clock is Redis's own, so that all instances agree. Milliseconds are counted from
 * September 2026: near zero a double holds them to fractions of a microsecond.
 *
 * KEYS: one a policy. ARGV: cost, then kind, size and window (ms) of each policy.
 * Returns 1 or 0, and of the policy nearest to its limit: place, what remains, ms until it is whole,
 * ms to wait.
 */
export const TAKE_SCRIPT: string = `
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1788220800) * 1000 + tonumber(time[2]) / 1000
local cost = tonumber(ARGV[1])
local states, refused, place, left, reset, wait, scarcest = {}, false, 0, 0, 0, 0, 2
for i = 1, #KEYS do
  local kind, size, window = ARGV[3 * i - 1], tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local remaining, resetMs, waitMs
  local state = tonumber(redis.call('GET', KEYS[i]) or '0')
  if kind == 'b' then
    local token = window / size
    local before = math.max(state, now)
    local after = before + cost * token
    waitMs = after - now - window
    if waitMs <= math.max(0.001, token * 1e-6) then waitMs = 0 end
    states[i] = after
    local fullAt = waitMs == 0 and after or before
    resetMs = fullAt - now
    remaining = math.max(0, math.floor((window - resetMs) / token + 1e-3))
  else
    local ttl = state > 0 and redis.call('PTTL', KEYS[i]) or window
    if ttl < 0 then ttl = window end
    waitMs = state + cost > size and math.max(1, ttl) or 0
    states[i] = waitMs == 0 and state + cost or state
    resetMs = ttl
    remaining = math.max(0, size - states[i])
  end
  if waitMs > 0 and (not refused or waitMs > wait) then
    refused, place, left, reset, wait = true, i, remaining, resetMs, waitMs
  elseif not refused and remaining / size < scarcest then
    scarcest, place, left, reset = remaining / size, i, remaining, resetMs
  end
end
if not refused then
  for i = 1, #KEYS do
    if ARGV[3 * i - 1] == 'b' then
      redis.call('SET', KEYS[i], string.format('%.6f', states[i]), 'PX', math.max(1, math.ceil(states[i] - now)))
    elseif redis.call('INCRBY', KEYS[i], cost) == cost then
      redis.call('PEXPIRE', KEYS[i], ARGV[3 * i + 1])
    end
  end
end
return {refused and 0 or 1, place, left, math.ceil(reset), math.ceil(wait)}
`

/**
 * Tells Redis that this instance is alive.
 * KEYS: the set of instances. ARGV: id of this one, ms after which one counts as gone.
 * Returns how many there are.
 */
export const BEAT_SCRIPT: string = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
`

/** What we need of a client: ioredis and iovalkey have it. */
export interface RedisClient {
  /** `ready` when commands go out at once. */
  readonly status?: string
  evalsha(sha: string, keys: number, ...args: (string | number)[]): Promise<unknown>
  eval(script: string, keys: number, ...args: (string | number)[]): Promise<unknown>
  del(...keys: string[]): Promise<unknown>
}

/** Runs a script by its digest, and sends it whole where Redis does not know it yet. */
export class RedisScript {
  readonly #source: string
  readonly #sha: string

  constructor(source: string) {
    this.#source = source
    this.#sha = createHash('sha1').update(source).digest('hex')
  }

  async run(
    client: RedisClient,
    keys: readonly string[],
    args: readonly (string | number)[]
  ): Promise<unknown> {
    try {
      return await client.evalsha(this.#sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return await client.eval(this.#source, keys.length, ...keys, ...args)
    }
  }
}
