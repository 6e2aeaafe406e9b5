/**
 * A callback of the user that may throw: then `onError` is called, and the answer is `fallback`.
 * Nobody's request fails because of what observes it.
 */
export function guarded<Arguments extends unknown[], Result>(
  callback: (...args: Arguments) => Result,
  fallback: Result,
  onError: (error: unknown) => void
): (...args: Arguments) => Result {
  return (...args) => {
    try {
      return callback(...args)
    } catch (error) {
      onError(error)
      return fallback
    }
  }
}
