/** Most important first. */
export const PRIORITIES = ['critical', 'high', 'normal', 'low'] as const

export type Priority = (typeof PRIORITIES)[number]

/** Place of a priority in `PRIORITIES`; 0 is the most important. */
export type Rank = number

export const LOWEST: Rank = PRIORITIES.length - 1

export const NORMAL: Rank = PRIORITIES.indexOf('normal')

/** @returns `undefined` when it is none */
export function rankOf(value: unknown): Rank | undefined {
  const rank = PRIORITIES.indexOf(value as Priority)
  return rank === -1 ? undefined : rank
}
