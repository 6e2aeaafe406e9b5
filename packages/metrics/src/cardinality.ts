import type { AnyFamily } from './exposition/metric-source.ts'

/** The metric nearest to its bound, and the label that makes it so. */
export interface Offender {
  readonly metric: string
  readonly label: string
  readonly distinctValues: number
  /** One of its values. */
  readonly example: string
}

export interface CardinalityReport {
  readonly seriesTotal: number
  readonly refusedTotal: number
  readonly droppedTotal: number
  /** `undefined` when no metric has labels. */
  readonly worst: Offender | undefined
}

/** Who has how many series, and whose fault it is. Takes time in proportion to the series. */
export function cardinalityReport(families: readonly AnyFamily[]): CardinalityReport {
  const sum = (pick: (family: AnyFamily) => number): number =>
    families.reduce((total, family) => total + pick(family), 0)
  const [largest] = families
    .filter((family) => family.labelNames.length > 0 && family.size > 0)
    .toSorted((a, b) => b.refused - a.refused || b.size - a.size)
  return {
    seriesTotal: sum((family) => family.size),
    refusedTotal: sum((family) => family.refused),
    droppedTotal: sum((family) => family.droppedCount),
    worst: largest === undefined ? undefined : worstLabel(largest)
  }
}

function worstLabel(family: AnyFamily): Offender {
  const offenders = family.labelNames.map((label, at) => {
    const values = new Set<string>()
    for (const series of family.series) values.add(series.values[at]!)
    const example = family.lastRefused?.[at] ?? [...values].at(-1)!
    return { metric: family.name, label, distinctValues: values.size, example }
  })
  return offenders.toSorted((a, b) => b.distinctValues - a.distinctValues)[0]!
}
