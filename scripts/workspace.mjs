// What the scripts know of the workspace: its packages and their sources.
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** @returns {{ directory: string, manifest: Record<string, any> }[]} */
export function workspacePackages(root = '.') {
  return ['packages', 'apps'].flatMap((group) =>
    readdirSync(join(root, group))
      .map((name) => join(root, group, name))
      .filter((directory) => existsSync(join(directory, 'package.json')))
      .map((directory) => ({
        directory,
        manifest: JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
      }))
  )
}

/** All TypeScript files below `src` of a package. */
export function sourceFiles(directory) {
  const source = join(directory, 'src')
  return readdirSync(source, { recursive: true })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(source, file))
}
