import { readFileSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { type Rpc, RpcSchema } from "effect/rpc"
import { QueryRpc } from "../query/QueryRpc.ts"
import { RunControlRpc } from "../run/RunControlRpc.ts"
import { RunnerRpc } from "../run/RunnerRpc.ts"
import { PipelineRpc, RunRpc } from "../run/RunRpc.ts"

/**
 * During an upgrade nodes of two versions speak to each other. What may change in a message then: fields that may be absent come and
 * go (`addedField`). What may not: fields that one side sends and the other insists on, words of an enumeration, kinds of values. This
 * test keeps the latter, of every message between nodes, in `rpc-contract.json`.
 */
const file = new URL("./rpc-contract.json", import.meta.url)

type Json = Schema.Json
type JsonObject = { readonly [key: string]: Json }

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Only what both sides must agree on. Limits of values may become wider; patterns, formats and descriptions are the callee's. */
const essence = (schema: Json | undefined, definitions: JsonObject, seen: ReadonlyArray<string> = []): Json => {
  if (!isObject(schema)) return schema ?? null
  if (typeof schema.$ref === "string") {
    const name = schema.$ref.replace(/^#\/(\$defs|definitions)\//, "")
    return seen.includes(name) ? `again ${name}` : essence(definitions[name], definitions, [...seen, name])
  }
  const inner = (part: Json | undefined) => essence(part, definitions, seen)
  const all = (parts: Json | undefined) => (Array.isArray(parts) ? parts.map(inner) : [])
  if (schema.anyOf !== undefined) return { anyOf: all(schema.anyOf) }
  if (schema.oneOf !== undefined) return { anyOf: all(schema.oneOf) }
  if (schema.enum !== undefined) return { enum: schema.enum }
  if (schema.type === "array")
    return { array: inner(schema.items), ...(schema.prefixItems ? { first: all(schema.prefixItems) } : {}) }
  if (schema.type === "object") {
    assert.notStrictEqual(schema.additionalProperties, false, "unknown fields must be passed over")
    const properties = isObject(schema.properties) ? schema.properties : {}
    const required = Array.isArray(schema.required) ? (schema.required as ReadonlyArray<string>) : []
    return { required: Object.fromEntries([...required].sort().map((name) => [name, inner(properties[name])])) }
  }
  return schema.type ?? {}
}

const essenceOf = (schema: Schema.Top): Json => {
  const document = Schema.toJsonSchemaDocument(Schema.toCodecJson(schema as Schema.Schema<unknown>))
  return essence(document.schema as Json, document.definitions as JsonObject)
}

/** The elements of a stream, or the one answer. */
const successOf = ({ successSchema }: Rpc.AnyWithProps): Json =>
  RpcSchema.isStreamSchema(successSchema)
    ? { success: essenceOf(successSchema.success), error: essenceOf(successSchema.error) }
    : essenceOf(successSchema)

const groups = { PipelineRpc, RunRpc, RunnerRpc, QueryRpc, RunControlRpc }

const contract = Object.fromEntries(
  Object.entries(groups).flatMap(([group, { requests }]) =>
    Array.from(requests as ReadonlyMap<string, Rpc.AnyWithProps>, ([tag, rpc]) => [
      `${group}.${tag}`,
      { payload: essenceOf(rpc.payloadSchema), success: successOf(rpc), error: essenceOf(rpc.errorSchema) },
    ]),
  ),
)

describe("Messages between nodes", () => {
  it("a node of this version and one of the version before understand each other", () => {
    const text = `${JSON.stringify(contract, null, 1)}\n`
    if (process.env.RAT_UPDATE_CONTRACT === "1") writeFileSync(file, text)
    const kept = JSON.parse(readFileSync(file, "utf8")) as Record<string, Json>
    for (const [message, shape] of Object.entries(kept)) {
      assert.deepStrictEqual(
        contract[message] as unknown,
        shape as unknown,
        `${message} is no longer what nodes of the version before send and expect. Add fields with \`addedField\`, or make a new message beside the old one. If no cluster can hold both versions, raise the protocol's number in RpcListener and run this with RAT_UPDATE_CONTRACT=1.`,
      )
    }
    assert.deepStrictEqual(Object.keys(contract), Object.keys(kept), "RAT_UPDATE_CONTRACT=1 takes new messages in")
  })
})
