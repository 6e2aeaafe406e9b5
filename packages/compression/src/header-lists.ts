/** A header as Node keeps it. */
export type HeaderValue = number | string | readonly string[] | undefined

/** One line of text, however it was set. */
export function headerText(value: HeaderValue): string {
  if (typeof value === 'string') return value
  if (value === undefined) return ''
  return typeof value === 'number' ? String(value) : value.join(', ')
}

/** Whether a comma-separated header names something, in any case, parameters aside. */
export function names(value: HeaderValue, name: string): boolean {
  return headerText(value)
    .split(',')
    .some((member) => member.split('=', 1)[0]!.trim().toLowerCase() === name)
}

/** `Vary` with `accept-encoding` in it once; `undefined` when it says so already. */
export function varyWith(value: HeaderValue): string | undefined {
  if (value === undefined || value === '') return 'accept-encoding'
  if (names(value, 'accept-encoding') || names(value, '*')) return undefined
  return `${headerText(value)}, accept-encoding`
}
