import { civilDate } from "../engine/TimeText.ts"
import type { SingleValue } from "./SingleValue.ts"
import { encodeSingleValue } from "./SingleValue.ts"

/**
 * Partition transforms (Iceberg spec, "Partition Transforms" and "Appendix B: 32-bit Hash Requirements"). A transform of
 * NULL is NULL.
 */
export type Transform =
  | { readonly kind: "identity" | "year" | "month" | "day" | "hour" | "void" }
  | { readonly kind: "bucket" | "truncate"; readonly width: number }
  /** Of a newer version of the spec: it can be carried over and read past, not applied. */
  | { readonly kind: "unknown"; readonly text: string }

const sized = /^(bucket|truncate)\[(\d+)\]$/
const plain = /^(identity|year|month|day|hour|void)$/

export const parseTransform = (text: string): Transform => {
  const word = plain.exec(text)
  if (word !== null) return { kind: word[1] as "identity" }
  const match = sized.exec(text)
  const width = Number(match?.[2])
  return match !== null && width > 0 && width < 2 ** 31
    ? { kind: match[1] as "bucket", width }
    : { kind: "unknown", text }
}

export const printTransform = (transform: Transform): string =>
  "width" in transform
    ? `${transform.kind}[${transform.width}]`
    : transform.kind === "unknown"
      ? transform.text
      : transform.kind

const isDecimal = (type: string) => type.startsWith("decimal(")
const isTimestamp = (type: string) => /^timestamp(tz)?(_ns)?$/.test(type)

/** The type of partition values; null when the transform cannot be applied to the type. */
export const resultType = (transform: Transform, type: string): string | null => {
  switch (transform.kind) {
    case "identity":
      return /^(variant|geometry|geography|unknown)/.test(type) ? null : type
    case "void":
      return type
    case "bucket":
      return /^(int|long|date|time|string|uuid|binary|fixed\[\d+\])$/.test(type) || isTimestamp(type) || isDecimal(type)
        ? "int"
        : null
    case "truncate":
      return /^(int|long|string|binary)$/.test(type) || isDecimal(type) ? type : null
    case "year":
    case "month":
      return type === "date" || isTimestamp(type) ? "int" : null
    // Days are dates: the spec says int, its "day" result is printed and typed as a date by all writers.
    case "day":
      return type === "date" || isTimestamp(type) ? "date" : null
    case "hour":
      return isTimestamp(type) ? "int" : null
    case "unknown":
      return "string"
  }
}

const floorDiv = (value: bigint, by: bigint): bigint => {
  const quotient = value / by
  return value % by < 0n ? quotient - 1n : quotient
}

/** Days since 1970-01-01 of a date or timestamp. */
const daysOf = (type: string, value: bigint): bigint =>
  type === "date" ? value : floorDiv(value, (type.endsWith("_ns") ? 1000n : 1n) * 86_400_000_000n)

const yearMonthOf = (days: bigint): readonly [year: number, month: number] => {
  const { month, year } = civilDate(Number(days))
  return [year, month]
}

/** The value that a transform gives; undefined for transforms that are not known here. */
export const applyTransform = (
  transform: Transform,
  type: string,
  value: SingleValue | null,
): SingleValue | null | undefined => {
  if (transform.kind === "unknown") return undefined
  if (value === null || transform.kind === "void") return null
  switch (transform.kind) {
    case "identity":
      return value
    case "bucket":
      return BigInt((hashOf(type, value) & 0x7fffffff) % transform.width)
    case "truncate": {
      const { width } = transform
      if (typeof value === "bigint") {
        const by = BigInt(width)
        return value - (((value % by) + by) % by)
      }
      if (typeof value === "string") return Array.from(value).slice(0, width).join("")
      return value instanceof Uint8Array ? value.slice(0, width) : undefined
    }
    case "year":
      return BigInt(yearMonthOf(daysOf(type, value as bigint))[0] - 1970)
    case "month": {
      const [year, month] = yearMonthOf(daysOf(type, value as bigint))
      return BigInt((year - 1970) * 12 + month - 1)
    }
    case "day":
      return daysOf(type, value as bigint)
    case "hour":
      return floorDiv(value as bigint, (type.endsWith("_ns") ? 1000n : 1n) * 3_600_000_000n)
  }
}

/** 32-bit hash of a value, as `bucket` uses it. */
export const hashOf = (type: string, value: SingleValue): number => {
  if (type === "int" || type === "date") return murmur3(encodeSingleValue("long", value))
  if (type.endsWith("_ns")) return murmur3(encodeSingleValue("long", floorDiv(value as bigint, 1000n)))
  if (type === "string") return murmur3(Buffer.from(value as string, "utf8"))
  return murmur3(encodeSingleValue(type, value))
}

const rotate = (value: number, by: number) => (value << by) | (value >>> (32 - by))

/** Murmur3, x86, 32 bits, seed 0; a signed 32-bit integer. */
export const murmur3 = (bytes: Uint8Array): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const blocks = bytes.length & ~3
  let hash = 0
  for (let at = 0; at < blocks; at += 4) {
    const mixed = Math.imul(rotate(Math.imul(view.getInt32(at, true), 0xcc9e2d51), 15), 0x1b873593)
    hash = (Math.imul(rotate(hash ^ mixed, 13), 5) + 0xe6546b64) | 0
  }
  let rest = 0
  for (let at = bytes.length - 1; at >= blocks; at--) rest = (rest << 8) | bytes[at]!
  if (blocks < bytes.length) hash ^= Math.imul(rotate(Math.imul(rest, 0xcc9e2d51), 15), 0x1b873593)
  hash ^= bytes.length
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) | 0
}
