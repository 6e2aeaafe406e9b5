import Type from 'typebox'

/** Longest time that a timer of Node can wait. */
export const MAX_MS: number = 2 ** 31 - 1

export const milliseconds = (
  description: string,
  value: number,
  env?: string
): Type.TOptional<Type.TNumber> =>
  Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      maximum: MAX_MS,
      default: value,
      description,
      ...(env === undefined ? {} : { env })
    })
  )

export const whole = (
  description: string,
  minimum: number,
  maximum: number,
  more: { default?: number; env?: string } = {}
): Type.TOptional<Type.TInteger> =>
  Type.Optional(Type.Integer({ minimum, maximum, description, ...more }))

export const flag = (description: string, value: boolean): Type.TOptional<Type.TBoolean> =>
  Type.Optional(Type.Boolean({ default: value, description }))

/** `false`, or a group of options that stands by itself when nothing is given. */
export const orFalse = <Properties extends Type.TProperties>(
  description: string,
  value: false | object,
  properties: Properties
): Type.TOptional<Type.TUnion> =>
  Type.Optional(
    Type.Union([Type.Literal(false), Type.Object(properties, { additionalProperties: false })], {
      default: value,
      description
    })
  ) as Type.TOptional<Type.TUnion>
