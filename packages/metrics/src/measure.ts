import type { HistogramFamily, HistogramOptions } from './histogram.ts'
import { LABEL_NAME } from './series-labels.ts'
import type { Labels } from './series-labels.ts'

/** Ends a measurement. @returns the duration in seconds; later calls record nothing more */
export type StopMeasure = (outcome?: 'success' | 'error') => number

const MOST_NAMES = 100
const OUTCOME = 'outcome'

/**
 * Durations of named pieces of work: `measure_<name>_duration_seconds{outcome,...labels}`.
 * The label names of a measure are those of its first use; later ones are fitted to them.
 */
export class Measures {
  readonly #families = new Map<string, HistogramFamily>()
  readonly #declare: (options: HistogramOptions) => HistogramFamily
  readonly #now: () => number
  readonly #onError: (what: string, error: unknown) => void

  constructor(
    declare: (options: HistogramOptions) => HistogramFamily,
    now: () => number,
    onError: (what: string, error: unknown) => void
  ) {
    this.#onError = onError
    this.#declare = declare
    this.#now = now
  }

  start(name: string, labels: Labels = {}): StopMeasure {
    const startMs = this.#now()
    let seconds: number | undefined
    return (outcome = 'success') => {
      if (seconds === undefined) {
        seconds = (this.#now() - startMs) / 1000
        this.#tryToRecord(name, { ...labels, [OUTCOME]: outcome }, seconds)
      }
      return seconds
    }
  }

  async track<Result>(
    name: string,
    operation: () => Promise<Result> | Result,
    labels?: Labels
  ): Promise<Result> {
    const stop = this.start(name, labels)
    try {
      const result = await operation()
      stop('success')
      return result
    } catch (error) {
      stop('error')
      throw error
    }
  }

  /** A name that is taken must not break the work that is measured. */
  #tryToRecord(name: string, labels: Labels, seconds: number): void {
    try {
      this.#record(name, labels, seconds)
    } catch (error) {
      this.#onError(`measure ${name}`, error)
    }
  }

  #record(name: string, labels: Labels, seconds: number): void {
    const family = this.#familyOf(name, Object.keys(labels))
    const fitted = Object.fromEntries(
      family.labelNames.map((label) => [label, String(labels[label] ?? '')])
    )
    family.with(fitted).record(seconds)
  }

  #familyOf(name: string, labelNames: string[]): HistogramFamily {
    const word = metricWord(name)
    const known = this.#families.get(word)
    if (known !== undefined) return known
    const key = this.#families.size < MOST_NAMES ? word : '_other'
    const family =
      this.#families.get(key) ??
      this.#declare({
        name: `measure_${key}_duration_seconds`,
        help: `Duration of the measured operation ${JSON.stringify(key)} in seconds`,
        labelNames: key === '_other' ? [OUTCOME] : labelNames.filter(isLabelName)
      })
    this.#families.set(key, family)
    return family
  }
}

/** A name of anything as a part of a metric's name. */
function metricWord(name: string): string {
  return (
    name
      .slice(0, 80)
      .replaceAll(/[^a-zA-Z0-9]+/g, '_')
      .replaceAll(/^_+|_+$/g, '')
      .toLowerCase() || 'unnamed'
  )
}

function isLabelName(label: string): boolean {
  return label !== 'le' && LABEL_NAME.test(label)
}
