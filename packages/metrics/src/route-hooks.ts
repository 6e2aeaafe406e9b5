import type { RouteOptions } from 'fastify'

export type RouteHookName = 'onRequest' | 'preValidation' | 'preHandler'

/** A hook in callback form. */
export type RouteHook = (request: never, reply: never, done: never) => void

/** All that were put by anybody, so that plugins come in the order in which they were registered. */
const PUT = new WeakSet<object>()

/** The hooks that one plugin puts on routes, one a route. For plugins, in `onRoute`. */
export class RouteHooks {
  readonly #name: RouteHookName
  readonly #own = new WeakSet<object>()

  constructor(name: RouteHookName) {
    this.#name = name
  }

  /**
   * Puts a hook before those that the route brings itself, because what they do may be what needs
   * protection, and after those of plugins that were registered earlier. The HEAD route that Fastify
   * makes of a GET comes with the hooks of that: there it takes the place of its own.
   */
  put(route: RouteOptions, hook: RouteHook): void {
    const hooks: object[] = [route[this.#name] ?? []].flat()
    const own = hooks.findIndex((each) => this.#own.has(each))
    const others = hooks.findIndex((each) => !PUT.has(each))
    if (own !== -1) hooks[own] = hook
    else hooks.splice(others === -1 ? hooks.length : others, 0, hook)
    this.#own.add(hook)
    PUT.add(hook)
    Object.assign(route, { [this.#name]: hooks })
  }

  /** Whether a hook of this plugin is on the route already. */
  isOn(route: RouteOptions): boolean {
    return [route[this.#name] ?? []].flat().some((each) => this.#own.has(each))
  }
}
