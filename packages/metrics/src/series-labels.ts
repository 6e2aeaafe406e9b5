import { VitalsDeclarationError, shown } from './errors.ts'

/** Label names and their values, as callers give them. */
export type Labels = Readonly<Record<string, string | number>>

/** Stands for everything beyond a bound: too many series, unknown methods, lesser tenants. */
export const OTHER = '_OTHER'

const METRIC_NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
/** What Prometheus allows; names that begin with two underscores are its own. */
export const LABEL_NAME: RegExp = /^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/
const LONGEST_VALUE = 256

/** @throws VitalsDeclarationError when Prometheus would refuse the names */
export function checkNames(name: string, labelNames: readonly string[]): void {
  if (!METRIC_NAME.test(name)) {
    throw new VitalsDeclarationError(`metric name ${shown(name)} must match ${METRIC_NAME.source}`)
  }
  const wrong = labelNames.find((label) => !LABEL_NAME.test(label) || label === 'le')
  if (wrong !== undefined) {
    throw new VitalsDeclarationError(
      `metric ${name}: label name ${shown(wrong)} must match ${LABEL_NAME.source} and not be "le"`
    )
  }
  if (new Set(labelNames).size < labelNames.length) {
    throw new VitalsDeclarationError(`metric ${name}: label names repeat: ${labelNames.join(', ')}`)
  }
}

/**
 * The values of `labels` in the order of `names`, cut to 256 characters.
 * @throws VitalsDeclarationError when one is missing or not declared
 */
export function labelValues(name: string, names: readonly string[], labels: Labels): string[] {
  const given = Object.keys(labels)
  const undeclared = given.find((label) => !names.includes(label))
  const missing = names.find(
    (label) => !Object.hasOwn(labels, label) || labels[label] === undefined
  )
  if (undeclared !== undefined || missing !== undefined) {
    throw new VitalsDeclarationError(
      `metric ${name} takes the labels {${names.join(', ')}}, got {${given.join(', ')}}`
    )
  }
  return names.map((label) => String(labels[label]).slice(0, LONGEST_VALUE))
}

/** Series by their label values: one nested map a label, so that no joined key can collide. */
export class LabelIndex<Series> {
  readonly #root = new Map<string, unknown>()
  readonly #depth: number
  #single: Series | undefined

  /** @param depth number of labels */
  constructor(depth: number) {
    this.#depth = depth
  }

  get(values: readonly string[]): Series | undefined {
    if (this.#depth === 0) return this.#single
    let node: unknown = this.#root
    for (const value of values) {
      node = (node as Map<string, unknown>).get(value)
      if (node === undefined) return undefined
    }
    return node as Series
  }

  set(values: readonly string[], series: Series): void {
    if (this.#depth === 0) {
      this.#single = series
      return
    }
    let node = this.#root
    for (const value of values.slice(0, -1)) {
      const next = (node.get(value) ?? new Map()) as Map<string, unknown>
      node.set(value, next)
      node = next
    }
    node.set(values.at(-1)!, series)
  }

  delete(values: readonly string[]): void {
    this.#single = undefined
    if (this.#depth > 0) remove(this.#root, values, 0)
  }
}

/** Removes a path and the maps it leaves empty. */
function remove(node: Map<string, unknown>, values: readonly string[], at: number): void {
  const value = values[at]!
  const next = node.get(value)
  if (next instanceof Map && at < values.length - 1) {
    remove(next, values, at + 1)
    if (next.size > 0) return
  }
  node.delete(value)
}
