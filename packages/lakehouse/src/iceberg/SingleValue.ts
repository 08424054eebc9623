/**
 * Single values of primitive types and their binary form, as bounds in manifests use it (Iceberg spec v2, "Appendix D:
 * Single-value serialization", "Binary single-value serialization").
 *
 * | Iceberg type                                 | here                                                        |
 * |----------------------------------------------|-------------------------------------------------------------|
 * | boolean                                      | boolean                                                     |
 * | int, long                                    | bigint                                                      |
 * | decimal(p,s)                                 | bigint, unscaled                                            |
 * | date                                         | bigint, days since 1970-01-01                               |
 * | time, timestamp, timestamptz                 | bigint, microseconds since midnight, since 1970-01-01 (UTC) |
 * | timestamp_ns, timestamptz_ns (v3)            | bigint, nanoseconds since 1970-01-01 (UTC)                  |
 * | float, double                                | number                                                      |
 * | string, uuid (lower case, hyphens)           | string                                                      |
 * | binary, fixed[n]                             | Uint8Array                                                  |
 */
export type SingleValue = boolean | bigint | number | string | Uint8Array

const decimalType = /^decimal\((\d+),\s*(\d+)\)$/

/** Scale of `decimal(p,s)`; null for other types. */
export const decimalScale = (type: string): number | null => {
  const match = decimalType.exec(type)
  return match === null ? null : Number(match[2])
}

const littleEndian = (size: number, write: (view: DataView) => void): Uint8Array => {
  const bytes = new Uint8Array(size)
  write(new DataView(bytes.buffer))
  return bytes
}

/** Big-endian two's complement in the fewest bytes (at least one). */
const encodeUnscaled = (value: bigint): Uint8Array => {
  let size = 1
  while (BigInt.asIntN(size * 8, value) !== value) size++
  const bytes = new Uint8Array(size)
  for (let index = size - 1, rest = value; index >= 0; index--, rest >>= 8n) bytes[index] = Number(rest & 0xffn)
  return bytes
}

const decodeUnscaled = (bytes: Uint8Array): bigint => {
  let value = 0n
  for (const byte of bytes) value = (value << 8n) | BigInt(byte)
  return BigInt.asIntN(bytes.length * 8, value)
}

/**
 * The value must be one of the type; anything else is a programmer's mistake and throws. The bytes are alone in their memory:
 * caches keep bounds, and a Buffer of sixteen bytes holds 64 KiB that it shares with what is long gone.
 */
export const encodeSingleValue = (type: string, value: SingleValue): Uint8Array => {
  switch (type) {
    case "boolean":
      return Uint8Array.of(value === true ? 1 : 0)
    case "int":
    case "date":
      return littleEndian(4, (view) => view.setInt32(0, Number(value), true))
    case "long":
    case "time":
    case "timestamp":
    case "timestamptz":
    case "timestamp_ns":
    case "timestamptz_ns":
      return littleEndian(8, (view) => view.setBigInt64(0, value as bigint, true))
    case "float":
      return littleEndian(4, (view) => view.setFloat32(0, value as number, true))
    case "double":
      return littleEndian(8, (view) => view.setFloat64(0, value as number, true))
    case "string":
      return new Uint8Array(Buffer.from(value as string, "utf8"))
    case "uuid":
      return new Uint8Array(Buffer.from((value as string).replaceAll("-", ""), "hex"))
    default:
      return decimalType.test(type) ? encodeUnscaled(value as bigint) : new Uint8Array(value as Uint8Array)
  }
}

/**
 * Undefined when the bytes are no value of the type (a bound that cannot be used). A bound written before a promotion
 * (int → long, float → double, date → timestamp) is read as the wider type.
 */
export const decodeSingleValue = (type: string, bytes: Uint8Array): SingleValue | undefined => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (type) {
    case "boolean":
      return bytes.length === 1 ? bytes[0] !== 0 : undefined
    case "int":
    case "date":
      return bytes.length === 4 ? BigInt(view.getInt32(0, true)) : undefined
    case "long":
      if (bytes.length === 4) return BigInt(view.getInt32(0, true))
      return bytes.length === 8 ? view.getBigInt64(0, true) : undefined
    case "timestamp":
    case "timestamp_ns": {
      if (bytes.length !== 4) return bytes.length === 8 ? view.getBigInt64(0, true) : undefined
      const days = BigInt(view.getInt32(0, true))
      return days * 86_400_000_000n * (type === "timestamp" ? 1n : 1000n)
    }
    case "time":
    case "timestamptz":
    case "timestamptz_ns":
      return bytes.length === 8 ? view.getBigInt64(0, true) : undefined
    case "float":
      return bytes.length === 4 ? view.getFloat32(0, true) : undefined
    case "double":
      if (bytes.length === 4) return view.getFloat32(0, true)
      return bytes.length === 8 ? view.getFloat64(0, true) : undefined
    case "string":
      return Buffer.from(bytes).toString("utf8")
    case "uuid":
      return bytes.length === 16
        ? Buffer.from(bytes)
            .toString("hex")
            .replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
        : undefined
    default:
      if (decimalType.test(type)) return bytes.length > 0 ? decodeUnscaled(bytes) : undefined
      return bytes
  }
}

/**
 * Order of two values of one type: numbers by value with -0 equal to 0 (NaN must not come here), strings by UTF-8 bytes
 * (as DuckDB and the spec do, not by UTF-16 units), UUIDs and binaries by unsigned bytes.
 */
export const compareSingleValues = (left: SingleValue, right: SingleValue): number => {
  if (typeof left === "string" && typeof right === "string")
    return Buffer.compare(Buffer.from(left), Buffer.from(right))
  if (left instanceof Uint8Array && right instanceof Uint8Array) return Buffer.compare(left, right)
  return left < right ? -1 : left > right ? 1 : 0
}

/** Characters (code points) or bytes of a string or binary bound; what Iceberg's writers use by default. */
const boundLength = 16

/** A UUID is text here too, but of one length. */
const isShortenable = (type: string): boolean => type === "string" || type === "binary"

/** At most the value, short enough for a manifest. */
export const truncateLowerBound = (type: string, value: SingleValue): SingleValue => {
  if (!isShortenable(type)) return value
  if (typeof value === "string") {
    if (value.length <= boundLength) return value
    return Array.from(value).slice(0, boundLength).join("")
  }
  return value instanceof Uint8Array ? value.subarray(0, boundLength) : value
}

/** At least the value, short enough for a manifest; undefined when there is no such short value (all 0xFF…). */
export const truncateUpperBound = (type: string, value: SingleValue): SingleValue | undefined => {
  if (!isShortenable(type)) return value
  if (typeof value === "string") {
    const characters = Array.from(value.slice(0, boundLength * 2 + 2))
    if (characters.length <= boundLength) return value
    for (let last = boundLength - 1; last >= 0; last--) {
      const next = nextCodePoint(characters[last]!.codePointAt(0)!)
      if (next !== null) return characters.slice(0, last).join("") + String.fromCodePoint(next)
    }
    return undefined
  }
  if (value instanceof Uint8Array && value.length > boundLength) {
    for (let last = boundLength - 1; last >= 0; last--) {
      if (value[last]! < 0xff) {
        const bound = value.slice(0, last + 1)
        bound[last]!++
        return bound
      }
    }
    return undefined
  }
  return value
}

/** Surrogates are no characters; U+10FFFF is the last one. */
const nextCodePoint = (codePoint: number): number | null => {
  if (codePoint >= 0x10ffff) return null
  return codePoint === 0xd7ff ? 0xe000 : codePoint + 1
}
