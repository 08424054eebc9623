import { decimalScale, type SingleValue } from "../iceberg/SingleValue.ts"
import { parseSingleValue } from "../iceberg/SingleValueText.ts"
import type { Transform } from "../iceberg/Transform.ts"

/*
 * Partition transforms as SQL (Iceberg spec, "Partition Transforms", "Appendix B: 32-bit Hash Requirements"); equal to what
 * `iceberg/Transform` computes for single values. Integer division truncates in DuckDB, so floors are made with `%`.
 */

const floored = (value: string, by: bigint | number): string => `(${value} - ((${value} % ${by}) + ${by}) % ${by})`

/** Microseconds since 1970 of a timestamp of any kind, BIGINT; nanoseconds are floored. */
const micros = (type: string, column: string): string =>
  type.endsWith("_ns") ? `(${floored(`epoch_ns(${column})`, 1000)} // 1000)` : `epoch_us(${column})`

/** The column as a date in UTC. */
const date = (type: string, column: string): string =>
  type === "date"
    ? column
    : `(date '1970-01-01' + (${floored(micros(type, column), 86_400_000_000n)} // 86400000000)::integer)`

/** Unscaled value of a decimal, HUGEINT. Through its text: multiplying could overflow. */
const unscaled = (column: string): string => `replace(${column}::varchar, '.', '')::hugeint`

/** A partition's value of a column as SQL. The types: column `type` is Iceberg's, the result compares and groups as the value does. */
export const transformSql = (transform: Transform, type: string, column: string): string => {
  switch (transform.kind) {
    case "identity":
      return column
    case "void":
    case "unknown":
      return "null"
    case "year":
      return `(year(${date(type, column)}) - 1970)`
    case "month":
      return `((year(${date(type, column)}) - 1970) * 12 + month(${date(type, column)}) - 1)`
    case "day":
      return date(type, column)
    case "hour":
      return `(${floored(micros(type, column), 3_600_000_000n)} // 3600000000)`
    case "truncate":
      return truncateSql(type, transform.width, column)
    case "bucket":
      return `((${hashSql(type, column)} & 2147483647) % ${transform.width})`
  }
}

const truncateSql = (type: string, width: number, column: string): string => {
  if (type === "string") return `left(${column}, ${width})`
  if (type === "binary") return `unhex(left(hex(${column}), ${width * 2}))`
  // HUGEINT: the floor of the smallest integers lies below their type.
  const value = decimalScale(type) === null ? `${column}::hugeint` : unscaled(column)
  return floored(value, width)
}

/** How a partition's value comes out of the engine: text that `partitionValue` reads. */
export const partitionTextSql = (transform: Transform, type: string, value: string): string => {
  if (transform.kind === "identity" && (type === "binary" || type.startsWith("fixed"))) return `hex(${value})`
  if (transform.kind === "truncate" && type === "binary") return `hex(${value})`
  if (type.endsWith("_ns") && transform.kind === "identity") return `epoch_ns(${value})::varchar`
  if (transform.kind === "identity" && type.startsWith("timestamp")) return `epoch_us(${value})::varchar`
  return `${value}::varchar`
}

/** The value from the engine's text; `type` is the partition field's. */
export const partitionValue = (transform: Transform, type: string, text: string | null): SingleValue | null => {
  if (text === null) return null
  if (transform.kind === "truncate" && decimalScale(type) !== null) return BigInt(text)
  if (transform.kind === "identity" && type.startsWith("timestamp")) return BigInt(text)
  if (/^-?nan$/i.test(text) && (type === "float" || type === "double")) return Number.NaN
  return parseSingleValue(type, text) ?? null
}

const mask = 4_294_967_295n
const times = (value: string, by: number): string => `((${value})::ubigint * ${by}::ubigint & ${mask}::ubigint)::bigint`
/**
 * Rotation of 32 bits to the left: 2^32 is 1 modulo 2^32 - 1, so it is a multiplication there; the shift by one keeps both 0 and
 * 2^32 - 1. The value occurs once, so expressions do not grow.
 */
const rotated = (value: string, by: number): string => `(((${value}) * ${2 ** by} - 1) % ${mask} + 1)`
const mixedBlock = (block: string): string => times(rotated(times(block, 0xcc9e2d51), 15), 0x1b873593)
const withBlock = (hash: string, block: string): string =>
  `((${rotated(`xor(${hash}, ${mixedBlock(block)})`, 13)} * 5 + 3864292196) & ${mask})`
/** The last steps, in a lambda: each uses its value twice. */
const finished = (hash: string): string => {
  const step = (value: string, shift: number) => `xor(${value}, ${value} >> ${shift})`
  const apply = (inner: string, name: string, shift: number) =>
    `list_transform([${inner}], lambda ${name}: ${step(name, shift)})[1]`
  return apply(times(apply(times(apply(hash, "rat_a", 16), 0x85ebca6b), "rat_b", 13), 0xc2b2ae35), "rat_c", 16)
}

/** Murmur3 of a BIGINT's eight bytes, as integers and times are hashed. */
const hashOfLong = (value: string): string => {
  const bits = `((${value})::hugeint + 18446744073709551616) % 18446744073709551616`
  const low = `(((${bits}) % 4294967296)::bigint)`
  const high = `(((${bits}) // 4294967296)::bigint)`
  return finished(`xor(${withBlock(withBlock("0::bigint", low), high)}, 8)`)
}

/** Murmur3 of bytes, given as text of hexadecimal digits. */
const hashOfHex = (digits: string): string => {
  const byte = (at: string, index: number) => `substr(rat_x, (${at}) * 2 + ${index * 2 + 1}, 2)`
  const block = (at: string, size: number) =>
    `('0x' || ${Array.from({ length: size }, (_, index) => byte(at, size - 1 - index)).join(" || ")})::bigint`
  const length = "(length(rat_x) // 2)"
  const blocks = `list_transform(range(${length} // 4), lambda rat_i: ${block("rat_i * 4", 4)})`
  const body = `list_reduce(${blocks}, lambda rat_h, rat_k: ${withBlock("rat_h", "rat_k")}, 0::bigint)`
  const rest = [1, 2, 3].map((size) => `when ${size} then ${mixedBlock(block(`${length} - ${size}`, size))}`)
  const tail = `case ${length} % 4 ${rest.join(" ")} else 0 end`
  return finished(`list_transform([${digits}], lambda rat_x: xor(xor(${body}, ${tail}), ${length}::bigint))[1]`)
}

/** Big-endian two's complement of a HUGEINT in the fewest bytes, as hexadecimal digits. */
const minimalHex = (value: string): string => {
  const padded = (digits: string) =>
    `list_transform([${digits}], lambda rat_y: case when length(rat_y) % 2 = 1 then '0' || rat_y when rat_y[1] >= '8' then '00' || rat_y else rat_y end)[1]`
  return `list_transform([${value}], lambda rat_v: case when rat_v >= 0 then ${padded("hex(rat_v)")} else translate(${padded("hex(-1 - rat_v)")}, '0123456789ABCDEF', 'FEDCBA9876543210') end)[1]`
}

/** The 32-bit hash of a value, 0 to 2^32 - 1 as BIGINT; NULL of NULL. */
const hashSql = (type: string, column: string): string => {
  const hash = rawHash(type, column)
  return `case when ${column} is null then null else ${hash} end`
}

const rawHash = (type: string, column: string): string => {
  if (type === "int" || type === "long") return hashOfLong(column)
  if (type === "date") return hashOfLong(`(${column} - date '1970-01-01')`)
  if (type === "time" || type.startsWith("timestamp")) return hashOfLong(micros(type, column))
  if (type === "string") return hashOfHex(`hex(encode(${column}))`)
  if (type === "uuid") return hashOfHex(`replace(${column}::varchar, '-', '')`)
  if (decimalScale(type) !== null) return hashOfHex(minimalHex(unscaled(column)))
  return hashOfHex(`hex(${column})`)
}
