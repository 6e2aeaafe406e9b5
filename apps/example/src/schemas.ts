import Type from 'typebox'

/** Largest number that a column of type int takes. */
const LARGEST_INT = 2_147_483_647

/** The number of a row. */
export const rowId: Type.TInteger = Type.Integer({ minimum: 1, maximum: LARGEST_INT })

/** A row's number in a URL. */
export const idParameter: Type.TObject<{ id: Type.TInteger }> = Type.Object({ id: rowId })

/** Text that PostgreSQL can take: all but the character with the number 0. */
export const plainText = (minLength: number, maxLength: number): Type.TString =>
  Type.String({ minLength, maxLength, pattern: String.raw`^[^\u0000]*$` })

export const pageQuery: Type.TObject = Type.Object({
  category: Type.Optional(plainText(1, 40)),
  after: Type.Integer({
    minimum: 0,
    maximum: LARGEST_INT,
    default: 0,
    description: 'last id of the page before'
  }),
  limit: Type.Integer({ minimum: 1, maximum: 100, default: 20 })
})

export const product: Type.TObject = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  category: Type.String(),
  price_cents: Type.Integer(),
  stock: Type.Integer()
})

export const products: Type.TObject = Type.Object({ products: Type.Array(product) })

export const order: Type.TObject = Type.Object({
  id: Type.Integer(),
  created_at: Type.String(),
  lines: Type.Array(
    Type.Object({
      product_id: Type.Integer(),
      name: Type.String(),
      quantity: Type.Integer(),
      price_cents: Type.Integer()
    })
  )
})

export const checkoutBody: Type.TObject = Type.Object({
  customer_id: rowId,
  lines: Type.Array(
    Type.Object({
      product_id: rowId,
      quantity: Type.Integer({ minimum: 1, maximum: 1_000_000_000 })
    }),
    { minItems: 1, maxItems: 50 }
  )
})

export const placedOrder: Type.TObject = Type.Object({
  order_id: Type.Integer(),
  total_cents: Type.Integer()
})

export const salesReport: Type.TObject = Type.Object({
  categories: Type.Array(
    Type.Object({ category: Type.String(), lines: Type.Integer(), cents: Type.Integer() })
  )
})

/** How every route says no. */
export const problem: Type.TObject = Type.Object({
  statusCode: Type.Integer(),
  error: Type.String(),
  message: Type.String()
})
