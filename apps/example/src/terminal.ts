/** How to print: colours only for people who want them. */
export interface Terminal {
  readonly isInteractive: boolean
  bold(text: string): string
  red(text: string): string
  green(text: string): string
  dim(text: string): string
  print(line?: string): void
  /** Shows how far something is: a bar that moves, or a line now and then. */
  progress(what: string, done: number, total: number): void
}

const BAR_WIDTH = 30
const LINE_EVERY_SECONDS = 5

export function openTerminal(
  out: NodeJS.WriteStream,
  environment: Readonly<Record<string, string | undefined>>
): Terminal {
  const isInteractive = out.isTTY && environment.CI === undefined
  const isColoured = isInteractive && !environment.NO_COLOR
  const style = (code: number) => (text: string) =>
    isColoured ? `\u001b[${code}m${text}\u001b[0m` : text
  return {
    isInteractive,
    bold: style(1),
    red: style(31),
    green: style(32),
    dim: style(2),
    print: (line = '') => void out.write(`${line}\n`),
    progress(what, done, total) {
      if (isInteractive) {
        out.write(`\r  ${barOf(done / total)} ${what}${done >= total ? '\n' : ''}`)
      } else if (done % LINE_EVERY_SECONDS === 0 || done === total) {
        out.write(`  ${done} of ${total} s  ${what}\n`)
      }
    }
  }
}

function barOf(part: number): string {
  const filled = Math.round(part * BAR_WIDTH)
  return `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}`
}

/** Text of others, without what a terminal would obey. */
export function harmless(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?')
}
