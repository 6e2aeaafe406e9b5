// A package imports only from floors below it, and packages on one floor don't know each other.
// The two exceptions are written down here. Packages beside the house import whatever they measure
// or test, and nothing in the house imports them.
import { readFileSync } from 'node:fs'
import { sourceFiles, workspacePackages } from './workspace.mjs'

const SCOPE = '@fastify-vitals/'
const FLOORS = [
  ['metrics'],
  [
    'timing',
    'rate-limit',
    'circuit-breaker',
    'http-client',
    'compression',
    'overload',
    'database',
    'cache',
    'profiling'
  ],
  ['bottleneck'],
  ['management', 'dashboard'],
  ['example', 'cli', 'fastify-vitals']
]
const BESIDE = new Set(['bench', 'testing'])
const ALLOWED = new Set([
  'http-client -> circuit-breaker',
  'cli -> bench',
  'example -> fastify-vitals'
])

/** @returns {string[]} what is wrong, one sentence a fault */
export function floorFaults(packages, read = (file) => readFileSync(file, 'utf8')) {
  return packages.flatMap(({ directory, manifest }) => {
    const from = shortName(manifest.name)
    if (!BESIDE.has(from) && floorOf(from) === -1)
      return [`${from} stands on no floor: add it to ${import.meta.filename}`]
    const imported = new Set(sourceFiles(directory).flatMap((file) => importsOf(read(file))))
    const declared = Object.keys(manifest.dependencies ?? {})
      .filter((name) => isOurs(name))
      .map(shortName)
    return [...new Set([...imported, ...declared])].flatMap((to) => faultOf(from, to))
  })
}

function faultOf(from, to) {
  if (from === to || BESIDE.has(from) || ALLOWED.has(`${from} -> ${to}`)) return []
  if (BESIDE.has(to)) return [`${from} must not import ${to}, which is for development only`]
  if (floorOf(to) < floorOf(from)) return []
  const where = floorOf(to) === floorOf(from) ? 'on the same floor' : 'on a higher floor'
  return [`${from} must not import ${to}, which is ${where}`]
}

function importsOf(source) {
  const specifiers = [...source.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(
    (match) => match[1]
  )
  return specifiers.filter(isOurs).map(shortName)
}

function isOurs(specifier) {
  return specifier.startsWith(SCOPE) || specifier === 'fastify-vitals'
}

function shortName(specifier) {
  return specifier.replace(SCOPE, '').split('/')[0]
}

function floorOf(name) {
  return FLOORS.findIndex((floor) => floor.includes(name))
}

if (process.argv[1] === import.meta.filename) {
  const faults = floorFaults(workspacePackages())
  for (const fault of faults) console.error(`floors: ${fault}`)
  console.log(faults.length === 0 ? 'floors: every package imports only what is below it' : '')
  process.exitCode = faults.length === 0 ? 0 : 1
}
