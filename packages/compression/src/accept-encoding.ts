import type { Encoding } from './codecs.ts'

/** No browser sends more; what is beyond is not read. */
const LONGEST_HEADER = 1024
const MOST_MEMBERS = 32
const MEMOIZED = 256
const LONGEST_MEMOIZED = 200

/** What a client takes, of what we have. */
export interface Choice {
  /** `undefined`: send it as it is. */
  readonly encoding: Encoding | undefined
  /** The client refuses what is not encoded (`identity;q=0`). */
  readonly refusesIdentity: boolean
}

/** Chooses encodings by `Accept-Encoding`, and remembers what it chose: clients say the same again. */
export class Negotiator {
  readonly #supported: readonly Encoding[]
  readonly #memo = new Map<string, Choice>()

  /** @param supported in the order in which we prefer them */
  constructor(supported: readonly Encoding[]) {
    this.#supported = supported
  }

  choose(header: string): Choice {
    const known = this.#memo.get(header)
    if (known !== undefined) return known
    const choice = chooseEncoding(header, this.#supported)
    if (header.length <= LONGEST_MEMOIZED) {
      if (this.#memo.size >= MEMOIZED) this.#memo.clear()
      this.#memo.set(header, choice)
    }
    return choice
  }
}

/**
 * The best encoding by `Accept-Encoding`: the highest weight wins, then our own order. Linear in the
 * length of the header, of which at most 1024 characters and 32 members are read.
 *
 * @see RFC 9110, 12.5.3
 */
export function chooseEncoding(header: string, supported: readonly Encoding[]): Choice {
  const weights = parseAcceptEncoding(header)
  const rest = weights.get('*')
  const identity = weights.get('identity')
  let encoding: Encoding | undefined
  let best = 0
  for (const candidate of supported) {
    const weight = weights.get(candidate) ?? rest ?? 0
    if (weight > best) {
      best = weight
      encoding = candidate
    }
  }
  if (identity !== undefined && identity > best) encoding = undefined
  return { encoding, refusesIdentity: (identity ?? rest) === 0 }
}

/** Weights by encoding, lower case; of an encoding that is named twice, the first. */
export function parseAcceptEncoding(header: string): Map<string, number> {
  const weights = new Map<string, number>()
  const text = header.length > LONGEST_HEADER ? header.slice(0, LONGEST_HEADER) : header
  let from = 0
  for (let members = 0; members < MOST_MEMBERS && from <= text.length; members++) {
    const comma = text.indexOf(',', from)
    const to = comma === -1 ? text.length : comma
    addMember(weights, text.slice(from, to))
    from = to + 1
  }
  return weights
}

function addMember(weights: Map<string, number>, member: string): void {
  const semicolon = member.indexOf(';')
  const name = (semicolon === -1 ? member : member.slice(0, semicolon)).trim().toLowerCase()
  if (name === '') return
  const encoding = name === 'x-gzip' ? 'gzip' : name
  if (weights.has(encoding)) return
  weights.set(encoding, semicolon === -1 ? 1 : weightOf(member.slice(semicolon + 1)))
}

/** A weight that is not one means no: then the client gets what everybody can read. */
function weightOf(parameter: string): number {
  const text = parameter.trim()
  const isWeight = text.length <= 7 && /^q=(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/i.test(text)
  return isWeight ? Number(text.slice(2)) : 0
}
