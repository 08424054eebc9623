import type { Schema } from "effect"
import type { Merged } from "./MergeProgram.ts"

/**
 * A merge's result as plain JSON, for whoever commits it later (another process, perhaps of another version). Values that JSON lacks
 * are objects with one key: `$n` bigint, `$f` a number that JSON has no word for, `$b` bytes in base64, `$m` map, `$s` set, `$o` an
 * object whose only key begins like these.
 */

/** Rises whenever `Merged`, or anything in it, changes its shape. */
const version = 1

const toJson = (value: unknown): Schema.Json => {
  switch (typeof value) {
    case "bigint":
      return { $n: value.toString() }
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : { $f: Object.is(value, -0) ? "-0" : String(value) }
    case "string":
    case "boolean":
      return value
    case "object": {
      if (value === null) return null
      if (Array.isArray(value)) return value.map(toJson)
      if (value instanceof Uint8Array) return { $b: Buffer.from(value).toString("base64") }
      if (value instanceof Map) return { $m: [...value].map(([key, item]) => [toJson(key), toJson(item)]) }
      if (value instanceof Set) return { $s: [...value].map(toJson) }
      const entries = Object.entries(value).filter(([, item]) => item !== undefined)
      const items = entries.map(([key, item]) => [key, toJson(item)] as const)
      return items.length === 1 && items[0]![0].startsWith("$") ? { $o: items } : Object.fromEntries(items)
    }
    default:
      throw new Error(`a merge holds no ${typeof value}`)
  }
}

const fromJson = (json: Schema.Json): unknown => {
  if (json === null || typeof json !== "object") return json
  if (Array.isArray(json)) return json.map(fromJson)
  const entries = Object.entries(json as { readonly [key: string]: Schema.Json })
  const [key, item] = entries.length === 1 ? entries[0]! : []
  switch (key) {
    case "$n":
      return BigInt(item as string)
    case "$f":
      return Number(item)
    case "$b":
      return new Uint8Array(Buffer.from(item as string, "base64"))
    case "$m":
      return new Map(
        (item as ReadonlyArray<readonly [Schema.Json, Schema.Json]>).map(([k, v]) => [fromJson(k), fromJson(v)]),
      )
    case "$o":
      return Object.fromEntries(
        (item as ReadonlyArray<readonly [string, Schema.Json]>).map(([k, v]) => [k, fromJson(v)]),
      )
    case "$s":
      return new Set((item as ReadonlyArray<Schema.Json>).map(fromJson))
    default:
      return Object.fromEntries(entries.map(([name, value]) => [name, fromJson(value)]))
  }
}

export const mergedToJson = (merged: Merged): Schema.Json => ({ version, merged: toJson(merged) })

/** Null for what another version wrote. */
export const mergedFromJson = (json: Schema.Json): Merged | null => {
  const given = json as { readonly version?: unknown; readonly merged?: Schema.Json } | null
  return given?.version === version && given.merged !== undefined ? (fromJson(given.merged) as Merged) : null
}
