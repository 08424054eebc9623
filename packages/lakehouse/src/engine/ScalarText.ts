import { type DuckDBType, DuckDBTypeId, DuckDBVector } from "@duckdb/node-api"
import { geometryText } from "./GeometryText.ts"
import { dateText, intervalText, offsetText, timestampText, timeText } from "./TimeText.ts"
import { stringBytes, type Vector, viewOf } from "./VectorData.ts"

/** The text of a row's value; only asked for rows that are not NULL. */
export type TextOf = (row: number) => string

/**
 * How a scalar type is written as text.
 * - `number`: as JSON writes numbers, and small enough for JavaScript's.
 * - `float`: the same, but may be `NaN`, `Infinity` or `-Infinity`.
 * - `int64`: digits of a 64-bit integer, which JavaScript's numbers may not hold.
 * - `exact`: digits of a wider integer or a decimal.
 * - `plain`: text without anything to escape.
 * - `text`: any text.
 */
export interface ScalarText {
  readonly kind: "number" | "float" | "int64" | "exact" | "plain" | "text"
  readonly bind: (vector: Vector, count: number) => TextOf
}

const numbers =
  <A extends ArrayLike<number>>(View: Parameters<typeof viewOf<A>>[0]) =>
  (vector: Vector, count: number): TextOf => {
    const values = viewOf<A>(View, vector, count)
    return (row) => String(values[row])
  }

/** Integers of 64 bits as two halves; numbers while they are exact, BigInts beyond. */
const int64 =
  (signed: boolean) =>
  (vector: Vector, count: number): TextOf => {
    const lows = viewOf(Uint32Array, vector, count, 2)
    const highs = signed ? viewOf(Int32Array, vector, count, 2) : lows
    return (row) => {
      const value = highs[row * 2 + 1]! * 4_294_967_296 + lows[row * 2]!
      if (Number.isSafeInteger(value)) return String(value)
      return String((BigInt(highs[row * 2 + 1]!) << 32n) + BigInt(lows[row * 2]!))
    }
  }

const int128 =
  (signed: boolean) =>
  (vector: Vector, count: number): TextOf => {
    const lows = viewOf(BigUint64Array, vector, count, 2)
    const highs = signed ? viewOf(BigInt64Array, vector, count, 2) : lows
    return (row) => String((highs[row * 2 + 1]! << 64n) + lows[row * 2]!)
  }

/** Digits with the point `scale` places from the right. */
const pointed = (digits: string, scale: number): string => {
  if (scale === 0) return digits
  const sign = digits.startsWith("-") ? "-" : ""
  const padded = digits.slice(sign.length).padStart(scale + 1, "0")
  return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`
}

/** DuckDB stores a decimal as an integer whose width follows from its precision. */
const decimal =
  (width: number, scale: number) =>
  (vector: Vector, count: number): TextOf => {
    const digits =
      width <= 4
        ? numbers(Int16Array)(vector, count)
        : width <= 9
          ? numbers(Int32Array)(vector, count)
          : (width <= 18 ? int64 : int128)(true)(vector, count)
    return (row) => pointed(digits(row), scale)
  }

/** The shortest digits that are this 32-bit number and no other. */
const floatText = (value: number): string => {
  if (!Number.isFinite(value) || Number.isInteger(value)) return String(value)
  for (let digits = 6; digits < 9; digits++) {
    const text = Number(value.toPrecision(digits))
    if (Math.fround(text) === value) return String(text)
  }
  return String(Number(value.toPrecision(9)))
}

const timestamp =
  (digits: number, suffix: string) =>
  (vector: Vector, count: number): TextOf => {
    const lows = viewOf(Uint32Array, vector, count, 2)
    const highs = viewOf(Int32Array, vector, count, 2)
    return (row) => {
      const [low, high] = [lows[row * 2]!, highs[row * 2 + 1]!]
      // The largest 64-bit number and its negative stand for the infinities.
      if (high === 0x7fff_ffff && low === 0xffff_ffff) return "infinity"
      if (high === -0x8000_0000 && low === 1) return "-infinity"
      return timestampText(high, low, digits) + suffix
    }
  }

const date = (vector: Vector, count: number): TextOf => {
  const days = viewOf(Int32Array, vector, count)
  return (row) => {
    const value = days[row]!
    if (Math.abs(value) === 0x7fff_ffff) return value > 0 ? "infinity" : "-infinity"
    return dateText(value)
  }
}

const time = (vector: Vector, count: number): TextOf => {
  const halves = viewOf(Uint32Array, vector, count, 2)
  return (row) => timeText(halves[row * 2 + 1]! * 4_294_967_296 + halves[row * 2]!)
}

/** 40 bits of microseconds above 24 bits that say how far the offset lies below the largest one, 15:59:59. */
const timeWithZone = (vector: Vector, count: number): TextOf => {
  const values = viewOf(BigUint64Array, vector, count)
  return (row) => {
    const bits = values[row]!
    return timeText(Number(bits >> 24n)) + offsetText(16 * 3600 - 1 - Number(bits & 0xff_ffffn))
  }
}

const interval = (vector: Vector, count: number): TextOf => {
  const words = viewOf(Int32Array, vector, count, 4)
  const micros = viewOf(BigInt64Array, vector, count, 2)
  return (row) => intervalText(words[row * 4]!, words[row * 4 + 1]!, micros[row * 2 + 1]!)
}

/** A 128-bit number whose top bit is flipped, so that it sorts as signed. */
const uuid = (vector: Vector, count: number): TextOf => {
  const words = viewOf(Uint32Array, vector, count, 4)
  const hex = (word: number) => word.toString(16).padStart(8, "0")
  return (row) => {
    const [first, second, third] = [
      hex((words[row * 4 + 3]! ^ 0x8000_0000) >>> 0),
      hex(words[row * 4 + 2]!),
      hex(words[row * 4 + 1]!),
    ]
    return `${first}-${second.slice(0, 4)}-${second.slice(4)}-${third.slice(0, 4)}-${third.slice(4)}${hex(words[row * 4]!)}`
  }
}

const enumeration =
  (values: ReadonlyArray<string>) =>
  (vector: Vector, count: number): TextOf => {
    const View = values.length <= 256 ? Uint8Array : values.length <= 65_536 ? Uint16Array : Uint32Array
    const indexes = viewOf<ArrayLike<number>>(View, vector, count)
    return (row) => values[indexes[row]!]!
  }

/** What is rare enough to go through the client's own objects. */
const other =
  (type: DuckDBType) =>
  (vector: Vector, count: number): TextOf => {
    const values = DuckDBVector.create(vector, count, type)
    return (row) => String(values.getItem(row))
  }

/** Null for nested types. */
export const scalarText = (type: DuckDBType): ScalarText | null => {
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
      return {
        kind: "number",
        bind: (vector, count) => {
          const values = viewOf(Uint8Array, vector, count)
          return (row) => (values[row] === 0 ? "false" : "true")
        },
      }
    case DuckDBTypeId.TINYINT:
      return { kind: "number", bind: numbers(Int8Array) }
    case DuckDBTypeId.SMALLINT:
      return { kind: "number", bind: numbers(Int16Array) }
    case DuckDBTypeId.INTEGER:
      return { kind: "number", bind: numbers(Int32Array) }
    case DuckDBTypeId.UTINYINT:
      return { kind: "number", bind: numbers(Uint8Array) }
    case DuckDBTypeId.USMALLINT:
      return { kind: "number", bind: numbers(Uint16Array) }
    case DuckDBTypeId.UINTEGER:
      return { kind: "number", bind: numbers(Uint32Array) }
    case DuckDBTypeId.BIGINT:
      return { kind: "int64", bind: int64(true) }
    case DuckDBTypeId.UBIGINT:
      return { kind: "int64", bind: int64(false) }
    case DuckDBTypeId.HUGEINT:
      return { kind: "exact", bind: int128(true) }
    case DuckDBTypeId.UHUGEINT:
      return { kind: "exact", bind: int128(false) }
    case DuckDBTypeId.DECIMAL:
      return { kind: "exact", bind: decimal(type.width, type.scale) }
    case DuckDBTypeId.FLOAT:
      return {
        kind: "float",
        bind: (vector, count) => {
          const values = viewOf(Float32Array, vector, count)
          return (row) => floatText(values[row]!)
        },
      }
    case DuckDBTypeId.DOUBLE:
      return { kind: "float", bind: numbers(Float64Array) }
    case DuckDBTypeId.DATE:
      return { kind: "plain", bind: date }
    case DuckDBTypeId.TIME:
      return { kind: "plain", bind: time }
    case DuckDBTypeId.TIME_TZ:
      return { kind: "plain", bind: timeWithZone }
    case DuckDBTypeId.TIMESTAMP:
      return { kind: "plain", bind: timestamp(6, "") }
    case DuckDBTypeId.TIMESTAMP_TZ:
      return { kind: "plain", bind: timestamp(6, "Z") }
    case DuckDBTypeId.TIMESTAMP_S:
      return { kind: "plain", bind: timestamp(0, "") }
    case DuckDBTypeId.TIMESTAMP_MS:
      return { kind: "plain", bind: timestamp(3, "") }
    case DuckDBTypeId.TIMESTAMP_NS:
      return { kind: "plain", bind: timestamp(9, "") }
    case DuckDBTypeId.INTERVAL:
      return { kind: "plain", bind: interval }
    case DuckDBTypeId.UUID:
      return { kind: "plain", bind: uuid }
    case DuckDBTypeId.ENUM:
      return { kind: "text", bind: enumeration(type.values) }
    case DuckDBTypeId.VARCHAR:
      return {
        kind: "text",
        bind: (vector, count) => {
          const bytes = stringBytes(vector, count)
          return (row) => bytes(row).toString("utf8")
        },
      }
    case DuckDBTypeId.BLOB:
      return {
        kind: "plain",
        bind: (vector, count) => {
          const bytes = stringBytes(vector, count)
          return (row) => bytes(row).toString("base64")
        },
      }
    case DuckDBTypeId.GEOMETRY:
      return {
        kind: "text",
        bind: (vector, count) => {
          const bytes = stringBytes(vector, count)
          return (row) => geometryText(bytes(row))
        },
      }
    case DuckDBTypeId.SQLNULL:
      return { kind: "plain", bind: () => () => "" }
    case DuckDBTypeId.LIST:
    case DuckDBTypeId.ARRAY:
    case DuckDBTypeId.STRUCT:
    case DuckDBTypeId.MAP:
    case DuckDBTypeId.UNION:
    case DuckDBTypeId.VARIANT:
      return null
    default:
      return { kind: "text", bind: other(type) }
  }
}
