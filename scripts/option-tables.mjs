// Writes the option table of each package's README from the schema in its `src/options.ts`, which
// is also what checks the options. With --check it only says what is out of date.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { workspacePackages } from './workspace.mjs'

const START = '<!-- options:start -->'
const END = '<!-- options:end -->'

const checkOnly = process.argv.includes('--check')
let stale = 0
for (const { directory } of workspacePackages()) {
  const built = join(directory, 'dist', 'options.js')
  const readme = join(directory, 'README.md')
  if (!existsSync(built) || !existsSync(readme)) continue
  const { optionsSchema } = await import(pathToFileURL(resolve(built)).href)
  const before = readFileSync(readme, 'utf8')
  if (optionsSchema === undefined || !before.includes(START)) continue
  const after = withTable(before, tableOf(optionsSchema))
  if (unformatted(after) === unformatted(before)) continue
  if (!checkOnly) writeFileSync(readme, after)
  else {
    stale++
    console.error(`options: the table in ${readme} is out of date; run pnpm docs:options`)
  }
}
if (stale === 0) console.log('options: every table is up to date')
process.exitCode = stale === 0 ? 0 : 1

function withTable(readme, table) {
  const from = readme.indexOf(START) + START.length
  return `${readme.slice(0, from)}\n\n${table}\n\n${readme.slice(readme.indexOf(END))}`
}

/** The formatter aligns the columns of tables: that is no difference. */
function unformatted(readme) {
  return readme.replaceAll(/-{2,}/g, '--').replaceAll(/\s+/g, ' ')
}

function tableOf(schema) {
  const rows = rowsOf(schema, '')
  const header = ['option', 'type', 'default', 'what it does', 'environment variable']
  return [header, header.map(() => '---'), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n')
}

function rowsOf(schema, prefix) {
  return Object.entries(schema.properties).flatMap(([name, option]) => {
    if (option.properties !== undefined) return rowsOf(option, `${prefix}${name}.`)
    const [inner, step] = insideOf(option)
    const own = rowOf(prefix + name, option)
    return inner === undefined ? [own] : [own, ...rowsOf(inner, `${prefix}${name}${step}.`)]
  })
}

/** What the items of a list, the values of an object by name, or an object that may be chosen have. */
function insideOf(option) {
  if (option.items?.properties !== undefined) return [option.items, '[]']
  const [named] = Object.values(option.patternProperties ?? {})
  if (named?.properties !== undefined) return [named, '.<name>']
  return [option.anyOf?.find((each) => each.properties !== undefined), '']
}

function rowOf(name, option) {
  const value = option.default === undefined ? '' : `\`${JSON.stringify(option.default)}\``
  return [
    `\`${name}\``,
    typeOf(option),
    value,
    (option.description ?? '').replaceAll('|', '\\|'),
    option.env === undefined ? '' : `\`${option.env}\``
  ]
}

function typeOf(option) {
  if (option['x-kind'] !== undefined) return option['x-kind']
  if (option.anyOf !== undefined) return option.anyOf.map(typeOf).join(', ')
  if (option.const !== undefined) return `\`${option.const}\``
  if (option.type === 'array') return `list of ${itemsOf(option.items)}`
  if (option.patternProperties !== undefined) return 'object by name'
  const limits = [
    option.minimum === undefined ? '' : `≥ ${option.minimum}`,
    option.exclusiveMinimum === undefined ? '' : `> ${option.exclusiveMinimum}`,
    option.maximum === undefined ? '' : `≤ ${option.maximum}`
  ]
  return [option.type, limits.filter(Boolean).join(', ')].filter(Boolean).join(' ')
}

function itemsOf(item) {
  return item.anyOf === undefined ? typeOf(item).replace(/^\w+/, '$&s') : typeOf(item)
}
