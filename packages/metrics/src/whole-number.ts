import Type from 'typebox'

/** An option that is a whole number within bounds; without a default when `value` is left out. */
export function wholeNumber(
  description: string,
  minimum: number,
  maximum: number,
  value?: number
): Type.TOptional<Type.TInteger> {
  return Type.Optional(
    Type.Integer({
      minimum,
      maximum,
      description,
      ...(value === undefined ? {} : { default: value })
    })
  )
}
