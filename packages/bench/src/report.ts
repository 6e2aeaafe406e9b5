import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { Estimate } from './statistics.ts'

/** Prints rows as a Markdown table, the first column to the left, the others to the right. */
export function printTable(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = header.map((name, i) =>
    Math.max(name.length, ...rows.map((row) => row[i]!.length))
  )
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`
  console.log(line(header))
  console.log(
    `| ${widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`
  )
  for (const row of rows) console.log(line(row))
}

/** `12.34 (12.01–12.90)` */
export function shownEstimate({ median, low, high }: Estimate, digits: number = 2): string {
  return `${median.toFixed(digits)} (${low.toFixed(digits)}–${high.toFixed(digits)})`
}

/** What the figures were measured on. */
export function machine(): string {
  return `Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model.trim() ?? 'unknown processor'}`
}

export function writeJson(file: string | undefined, result: unknown): void {
  if (file === undefined) return
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`)
  console.log(`written to ${file}`)
}

/** Prints whether a budget is kept. @returns false when it is missed */
export function verdict(claim: string, isKept: boolean | undefined): boolean {
  const word = isKept === undefined ? 'inconclusive' : isKept ? 'kept' : 'MISSED'
  console.log(`${word.padEnd(12)} ${claim}`)
  return isKept !== false
}
