import { Schema as Codec, Effect, SchemaTransformation } from "effect"
import { printLosslessJson } from "./LosslessJson.ts"
import type { Field, IcebergType, Schema } from "./TableMetadata.ts"

/** `schemaId` → `schema-id` */
export const kebabCase = (key: string): string => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

/**
 * A struct whose keys are camelCase here and kebab-case in the file (`schemaId` is `schema-id`), as all of Iceberg's
 * JSON is.
 */
export const kebabStruct = <F extends Codec.Struct.Fields>(
  fields: F,
): Codec.Codec<Codec.Struct<F>["Type"], unknown> => {
  const keys = Object.keys(fields).map((key) => [key, kebabCase(key)])
  return Codec.Struct(fields).pipe(Codec.encodeKeys(Object.fromEntries(keys))) as never
}

/** The value that a missing key stands for. Written always. */
export const orElse = <S extends Codec.Constraint>(schema: S, value: S["Encoded"]) =>
  Codec.withDecodingDefaultKey<S>(Effect.succeed(value))(schema)

/** A 64-bit integer: a number of any size in the file (see LosslessJson), a bigint here. */
export const Int64 = Codec.Union([Codec.Int, Codec.BigInt]).pipe(
  Codec.decodeTo(
    Codec.BigInt,
    SchemaTransformation.transform<bigint, number | bigint>({
      decode: (value) => BigInt(value),
      encode: (value) => value,
    }),
  ),
)

/** v3 adds nanosecond timestamps, variant, geometry, geography and unknown. */
const primitivePattern =
  /^(boolean|int|long|float|double|date|time|timestamp(tz)?(_ns)?|string|uuid|binary|variant|unknown|geometry(\(.*\))?|geography(\(.*\))?|fixed\[\d+\]|decimal\(\d+,\s*\d+\))$/

/** Types and fields (Iceberg spec, "Appendix C: JSON serialization", "Schemas"). */
const TypeCodec: Codec.Codec<IcebergType, unknown> = Codec.suspend(() =>
  Codec.Union([
    Codec.String.check(Codec.isPattern(primitivePattern, { message: "a type of Iceberg v3" })),
    Codec.Struct({ type: Codec.Literal("struct"), fields: Codec.Array(FieldCodec) }),
    kebabStruct({
      type: Codec.Literal("list"),
      elementId: Codec.Int,
      elementRequired: Codec.Boolean,
      element: TypeCodec,
    }),
    kebabStruct({
      type: Codec.Literal("map"),
      keyId: Codec.Int,
      key: TypeCodec,
      valueId: Codec.Int,
      valueRequired: Codec.Boolean,
      value: TypeCodec,
    }),
  ]),
)

const FieldCodec: Codec.Codec<Field, unknown> = kebabStruct({
  id: Codec.Int,
  name: Codec.String,
  required: Codec.Boolean,
  type: TypeCodec,
  doc: Codec.optionalKey(Codec.String),
  initialDefault: Codec.optionalKey(Codec.Unknown),
  writeDefault: Codec.optionalKey(Codec.Unknown),
})

const SchemaStruct = kebabStruct({
  type: Codec.Literal("struct"),
  schemaId: orElse(Codec.Int, 0),
  fields: Codec.Array(FieldCodec),
  identifierFieldIds: orElse(Codec.Array(Codec.Int), []),
})

/** A table's schema: a struct with an id. */
export const SchemaCodec: Codec.Codec<Schema, unknown> = SchemaStruct.pipe(
  Codec.decodeTo(
    Codec.Struct({
      schemaId: Codec.Int,
      fields: Codec.Array(Codec.toType(FieldCodec)),
      identifierFieldIds: Codec.Array(Codec.Int),
    }),
    SchemaTransformation.transform<Schema, typeof SchemaStruct.Type>({
      decode: ({ type: _, ...schema }) => schema,
      encode: (schema) => ({ type: "struct", ...schema }),
    }),
  ),
)

const encodeSchemaJson = Codec.encodeSync(SchemaCodec)

/** The schema as JSON text, as manifests carry it in their header. */
export const encodeSchema = (schema: Schema): string => printLosslessJson(encodeSchemaJson(schema))
