import { Effect, Schema } from "effect"

/**
 * A field that came into a message after nodes had begun to exchange it: what an older node sends has it not, and then it is
 * `value`. Callers may leave it out, too.
 */
export const addedField = <S extends Schema.Constraint & Schema.WithoutConstructorDefault>(
  schema: S,
  value: S["Encoded"] & S["Type"],
): Schema.withConstructorDefault<Schema.withDecodingDefaultKey<S>> =>
  Schema.withConstructorDefault<Schema.withDecodingDefaultKey<S>>(Effect.succeed(value as never))(
    Schema.withDecodingDefaultKey<S>(Effect.succeed(value))(schema),
  )
