import type { ForeignFamily, ForeignSample } from './metric-source.ts'

/** The samples of a prom-client family that share their labels, put together again. */
export interface ForeignGroup {
  readonly labels: readonly (readonly [name: string, value: string])[]
  value: number
  count: number
  sum: number
  /** `le` or quantile, with its value. */
  readonly parts: (readonly [bound: number, value: number])[]
}

/** Groups a flat list of samples by their labels less `le` and `quantile`. */
export function foreignGroups(family: ForeignFamily): ForeignGroup[] {
  const groups = new Map<string, ForeignGroup>()
  for (const sample of family.values) {
    const all = Object.entries({ ...sample.sharedLabels, ...sample.labels })
    const labels = all
      .filter(([name, value]) => !isPartLabel(family, name) && value !== undefined)
      .map(([name, value]) => [name, String(value)] as const)
    const key = JSON.stringify(labels)
    const group = groups.get(key) ?? { labels, value: 0, count: 0, sum: 0, parts: [] }
    groups.set(key, group)
    addSample(group, family, sample, all.find(([name]) => isPartLabel(family, name))?.[1])
  }
  return [...groups.values()]
}

function isPartLabel(family: ForeignFamily, name: string): boolean {
  return (
    (family.type === 'histogram' && name === 'le') ||
    (family.type === 'summary' && name === 'quantile')
  )
}

function addSample(
  group: ForeignGroup,
  family: ForeignFamily,
  sample: ForeignSample,
  bound: string | number | undefined
): void {
  if (bound !== undefined) {
    group.parts.push([bound === '+Inf' ? Infinity : Number(bound), sample.value])
  } else if (sample.metricName === `${family.name}_sum`) group.sum = sample.value
  else if (sample.metricName === `${family.name}_count`) group.count = sample.value
  else group.value = sample.value
}
