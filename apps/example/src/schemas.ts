import Type from 'typebox'

/** A row's number in a URL. */
export const idParameter: Type.TObject<{ id: Type.TInteger }> = Type.Object({
  id: Type.Integer({ minimum: 1, maximum: 2_147_483_647 })
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

/** How every route says no. */
export const problem: Type.TObject = Type.Object({
  statusCode: Type.Integer(),
  error: Type.String(),
  message: Type.String()
})
