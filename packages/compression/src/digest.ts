import { hash } from 'node:crypto'

const SAMPLES = 64
const FNV_PRIME = 0x01000193

/** Identifies a body: SHA-256, because what is told apart by it goes to different people. 14 µs for 20 KB. */
export function digestOf(body: string | Buffer): string {
  return hash('sha256', body, 'base64url')
}

/** A hash over 64 places of a body, which tells most bodies apart at 0.15 µs, whatever their length. */
export function sampledHash(body: string | Buffer): number {
  const { length } = body
  const step = length / SAMPLES
  let mixed = length | 0
  let place = 0
  if (typeof body === 'string') {
    for (let i = 0; i < SAMPLES; i++, place += step) {
      mixed = Math.imul(mixed ^ body.charCodeAt(place | 0), FNV_PRIME)
    }
  } else {
    for (let i = 0; i < SAMPLES; i++, place += step) {
      mixed = Math.imul(mixed ^ body[place | 0]!, FNV_PRIME)
    }
  }
  return (mixed ^ (mixed >>> 15)) >>> 0
}
