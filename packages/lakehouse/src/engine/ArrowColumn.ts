import { type DuckDBType, DuckDBTypeId } from "@duckdb/node-api"
import * as Arrow from "apache-arrow"
import { SlotError } from "../slot/SlotServer.ts"
import { jsonColumn } from "./JsonText.ts"
import { scalarText } from "./ScalarText.ts"
import { sqlCodes } from "./SqlError.ts"
import {
  arrayChild,
  bytesOf,
  listData,
  stringBytes,
  structChild,
  type Vector,
  validityOf,
  viewOf,
} from "./VectorData.ts"

/** Which rows of a vector are taken, in which order. Lists may lie anywhere in their child vector. */
export type Rows = { readonly length: number; readonly at: (index: number) => number }

export const firstRows = (length: number): Rows => ({ length, at: (index) => index })

/**
 * How a DuckDB type travels in Arrow: natively where Arrow (and its JavaScript library) has the type; UHUGEINT, BIGNUM,
 * TIME WITH TIME ZONE, TIME_NS, UUID, ENUM, BIT, UNION and VARIANT as text, as in JSON. HUGEINT is decimal(38, 0), GEOMETRY binary (well-known binary).
 */
export interface ArrowColumn {
  readonly type: Arrow.DataType
  /** `count` is the number of rows of the vector, `rows` those that are wanted. */
  readonly bind: (vector: Vector, count: number, rows: Rows) => Arrow.Data
}

/** Bitmap of the rows that are there; undefined when all are. */
const nullBitmap = (vector: Vector, count: number, rows: Rows): Uint8Array | undefined => {
  const isValid = validityOf(vector, count)
  if (isValid === null) return undefined
  const bits = new Uint8Array(Math.ceil(rows.length / 8))
  for (let index = 0; index < rows.length; index++) if (isValid(rows.at(index))) bits[index >> 3]! |= 1 << (index & 7)
  return bits
}

const dataOf = (type: Arrow.DataType, vector: Vector, count: number, rows: Rows, parts: object): Arrow.Data => {
  const bitmap = nullBitmap(vector, count, rows)
  return Arrow.makeData({
    type,
    length: rows.length,
    ...(bitmap === undefined ? { nullCount: 0 } : { nullBitmap: bitmap }),
    ...parts,
  } as never)
}

/** Values that both sides lay out alike, `width` bytes each. */
const flat = (type: Arrow.DataType, width: number, View: new (buffer: ArrayBuffer) => unknown): ArrowColumn => ({
  type,
  bind: (vector, count, rows) => {
    const source = bytesOf(vector, count * width)
    const target = new Uint8Array(rows.length * width)
    for (let index = 0; index < rows.length; index++) {
      const from = rows.at(index) * width
      target.set(source.subarray(from, from + width), index * width)
    }
    return dataOf(type, vector, count, rows, { data: new View(target.buffer) })
  },
})

const bool: ArrowColumn = {
  type: new Arrow.Bool(),
  bind: (vector, count, rows) => {
    const values = viewOf(Uint8Array, vector, count)
    const bits = new Uint8Array(Math.ceil(rows.length / 8))
    for (let index = 0; index < rows.length; index++) {
      if (values[rows.at(index)] !== 0) bits[index >> 3]! |= 1 << (index & 7)
    }
    return dataOf(bool.type, vector, count, rows, { data: bits })
  },
}

/** Arrow's decimals have 128 bits whatever their precision. */
const decimal = (precision: number, scale: number, width: number): ArrowColumn => {
  const type = new Arrow.Decimal(scale, precision, 128)
  return {
    type,
    bind: (vector, count, rows) => {
      const words = width / 4
      const source = width === 2 ? viewOf(Int16Array, vector, count) : viewOf(Int32Array, vector, count, words)
      const target = new Int32Array(rows.length * 4)
      for (let index = 0; index < rows.length; index++) {
        const from = rows.at(index) * Math.max(1, words)
        const last = source[from + Math.max(1, words) - 1]!
        for (let word = 0; word < 4; word++)
          target[index * 4 + word] = word < words || word === 0 ? source[from + word]! : last >> 31
      }
      return dataOf(type, vector, count, rows, { data: new Uint32Array(target.buffer) })
    },
  }
}

const bytesColumn = (
  type: Arrow.DataType,
  bind: (vector: Vector, count: number) => (row: number) => Uint8Array,
): ArrowColumn => ({
  type,
  bind: (vector, count, rows) => {
    const isValid = validityOf(vector, count)
    const bytes = bind(vector, count)
    const offsets = new Int32Array(rows.length + 1)
    const parts: Array<Uint8Array> = []
    let size = 0
    for (let index = 0; index < rows.length; index++) {
      const row = rows.at(index)
      if (isValid === null || isValid(row)) {
        const part = bytes(row)
        parts.push(part)
        size += part.byteLength
      }
      offsets[index + 1] = size
    }
    return dataOf(type, vector, count, rows, {
      valueOffsets: offsets,
      data: new Uint8Array(Buffer.concat(parts, size)),
    })
  },
})

const textColumn = (textOf: (vector: Vector, count: number) => (row: number) => string): ArrowColumn =>
  bytesColumn(new Arrow.Utf8(), (vector, count) => {
    const text = textOf(vector, count)
    return (row) => Buffer.from(text(row))
  })

/** Offsets of lists that are laid one after the other, and which rows of the child they are. */
const listRows = (
  isValid: ((row: number) => boolean) | null,
  rows: Rows,
  offset: (row: number) => number,
  length: (row: number) => number,
) => {
  const offsets = new Int32Array(rows.length + 1)
  const taken: Array<number> = []
  for (let index = 0; index < rows.length; index++) {
    const row = rows.at(index)
    if (isValid === null || isValid(row)) {
      const start = offset(row)
      const end = start + length(row)
      for (let element = start; element < end; element++) taken.push(element)
    }
    offsets[index + 1] = taken.length
  }
  return { offsets, child: { length: taken.length, at: (index: number) => taken[index]! } }
}

const list = (type: Arrow.DataType, element: ArrowColumn): ArrowColumn => ({
  type,
  bind: (vector, count, rows) => {
    const data = listData(vector, count)
    const { offsets, child } = listRows(validityOf(vector, count), rows, data.offset, data.length)
    return dataOf(type, vector, count, rows, {
      valueOffsets: offsets,
      child: element.bind(data.child, data.childCount, child),
    })
  },
})

const struct = (names: ReadonlyArray<string>, columns: ReadonlyArray<ArrowColumn>, first = 0): ArrowColumn => {
  const type = new Arrow.Struct(columns.map((column, index) => new Arrow.Field(names[index]!, column.type, true)))
  return {
    type,
    bind: (vector, count, rows) =>
      dataOf(type, vector, count, rows, {
        children: columns.map((column, index) => column.bind(structChild(vector, index + first), count, rows)),
      }),
  }
}

const interval: ArrowColumn = {
  type: new Arrow.IntervalMonthDayNano(),
  bind: (vector, count, rows) => {
    const words = viewOf(Int32Array, vector, count, 4)
    const micros = viewOf(BigInt64Array, vector, count, 2)
    const target = new Int32Array(rows.length * 4)
    const nanos = new BigInt64Array(target.buffer)
    const isValid = validityOf(vector, count)
    for (let index = 0; index < rows.length; index++) {
      const row = rows.at(index)
      if (isValid !== null && !isValid(row)) continue
      const value = micros[row * 2 + 1]! * 1000n
      if (BigInt.asIntN(64, value) !== value)
        throw new SlotError(
          sqlCodes.invalid,
          "An interval has more hours than Arrow can hold (292 years of them): cast it to VARCHAR.",
        )
      target[index * 4] = words[row * 4]!
      target[index * 4 + 1] = words[row * 4 + 1]!
      nanos[index * 2 + 1] = value
    }
    return dataOf(interval.type, vector, count, rows, { data: target })
  },
}

export const arrowColumn = (type: DuckDBType): ArrowColumn => {
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
      return bool
    case DuckDBTypeId.TINYINT:
      return flat(new Arrow.Int8(), 1, Int8Array)
    case DuckDBTypeId.SMALLINT:
      return flat(new Arrow.Int16(), 2, Int16Array)
    case DuckDBTypeId.INTEGER:
      return flat(new Arrow.Int32(), 4, Int32Array)
    case DuckDBTypeId.BIGINT:
      return flat(new Arrow.Int64(), 8, BigInt64Array)
    case DuckDBTypeId.UTINYINT:
      return flat(new Arrow.Uint8(), 1, Uint8Array)
    case DuckDBTypeId.USMALLINT:
      return flat(new Arrow.Uint16(), 2, Uint16Array)
    case DuckDBTypeId.UINTEGER:
      return flat(new Arrow.Uint32(), 4, Uint32Array)
    case DuckDBTypeId.UBIGINT:
      return flat(new Arrow.Uint64(), 8, BigUint64Array)
    case DuckDBTypeId.HUGEINT:
      return decimal(38, 0, 16)
    case DuckDBTypeId.DECIMAL:
      return decimal(type.width, type.scale, type.width <= 4 ? 2 : type.width <= 9 ? 4 : type.width <= 18 ? 8 : 16)
    case DuckDBTypeId.FLOAT:
      return flat(new Arrow.Float32(), 4, Float32Array)
    case DuckDBTypeId.DOUBLE:
      return flat(new Arrow.Float64(), 8, Float64Array)
    case DuckDBTypeId.DATE:
      return flat(new Arrow.DateDay(), 4, Int32Array)
    case DuckDBTypeId.TIME:
      return flat(new Arrow.TimeMicrosecond(), 8, BigInt64Array)
    case DuckDBTypeId.TIMESTAMP:
      return flat(new Arrow.TimestampMicrosecond(), 8, BigInt64Array)
    case DuckDBTypeId.TIMESTAMP_TZ:
      return flat(new Arrow.TimestampMicrosecond("UTC"), 8, BigInt64Array)
    case DuckDBTypeId.TIMESTAMP_S:
      return flat(new Arrow.TimestampSecond(), 8, BigInt64Array)
    case DuckDBTypeId.TIMESTAMP_MS:
      return flat(new Arrow.TimestampMillisecond(), 8, BigInt64Array)
    case DuckDBTypeId.TIMESTAMP_NS:
      return flat(new Arrow.TimestampNanosecond(), 8, BigInt64Array)
    case DuckDBTypeId.INTERVAL:
      return interval
    case DuckDBTypeId.VARCHAR:
      return bytesColumn(new Arrow.Utf8(), stringBytes)
    case DuckDBTypeId.BLOB:
    case DuckDBTypeId.GEOMETRY:
      return bytesColumn(new Arrow.Binary(), stringBytes)
    case DuckDBTypeId.SQLNULL: {
      const nothing = new Arrow.Null()
      return { type: nothing, bind: (_, __, rows) => Arrow.makeData({ type: nothing, length: rows.length }) }
    }
    case DuckDBTypeId.LIST: {
      const element = arrowColumn(type.valueType)
      return list(new Arrow.List(new Arrow.Field("item", element.type, true)), element)
    }
    case DuckDBTypeId.ARRAY: {
      const element = arrowColumn(type.valueType)
      const { length } = type
      const array = new Arrow.FixedSizeList(length, new Arrow.Field("item", element.type, true))
      return {
        type: array,
        bind: (vector, count, rows) =>
          dataOf(array, vector, count, rows, {
            child: element.bind(arrayChild(vector), count * length, {
              length: rows.length * length,
              at: (index) => rows.at(Math.floor(index / length)) * length + (index % length),
            }),
          }),
      }
    }
    case DuckDBTypeId.STRUCT:
      return struct(type.entryNames, type.entryTypes.map(arrowColumn))
    case DuckDBTypeId.MAP: {
      const entries = struct(["key", "value"], [arrowColumn(type.keyType), arrowColumn(type.valueType)])
      return list(new Arrow.Map_(new Arrow.Field("entries", entries.type, false) as never), entries)
    }
    default:
      return textColumn(scalarText(type)?.bind ?? jsonColumn(type, "arrays"))
  }
}
