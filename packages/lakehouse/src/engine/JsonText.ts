import { type DuckDBType, DuckDBTypeId, DuckDBVector, JsonDuckDBValueConverter } from "@duckdb/node-api"
import { type ScalarText, scalarText, type TextOf } from "./ScalarText.ts"
import { arrayChild, listData, structChild, type Vector, validityOf, viewOf } from "./VectorData.ts"

/**
 * How DuckDB's types travel as JSON. A column's type alone decides how its values look, never a value.
 *
 * | DuckDB                                    | JSON                                                                   |
 * |-------------------------------------------|------------------------------------------------------------------------|
 * | BOOLEAN                                   | true, false                                                            |
 * | integers up to 32 bits                    | number                                                                 |
 * | BIGINT, UBIGINT                           | `arrays`: text; `objects`: a number with all its digits (as the ancestor's) |
 * | HUGEINT, UHUGEINT, BIGNUM, DECIMAL        | text                                                                   |
 * | FLOAT, DOUBLE                             | number with the shortest exact digits; "NaN", "Infinity", "-Infinity"  |
 * | VARCHAR, ENUM, JSON, UUID, BIT            | text                                                                   |
 * | BLOB                                      | base64 text                                                            |
 * | DATE                                      | "2024-02-29"; years beyond 0–9999 with sign and six digits; "infinity"  |
 * | TIME, TIME WITH TIME ZONE                 | "23:59:59.123456", "23:59:59.123456+02:00"                             |
 * | TIMESTAMP (µs), _S, _MS, _NS              | "2024-02-29T23:59:59.123456" with 6, 0, 3, 9 digits and no zone        |
 * | TIMESTAMP WITH TIME ZONE                  | "2024-02-29T23:59:59.123456Z", always UTC                              |
 * | INTERVAL                                  | ISO 8601 "P1Y2M3DT4H5M6.5S"                                            |
 * | LIST, ARRAY                               | array                                                                  |
 * | STRUCT, MAP                               | object; keys of a map as text                                          |
 * | UNION                                     | object with the one member that is set                                 |
 * | VARIANT                                   | what it holds; 64-bit integers, decimals and times as DuckDB's text    |
 * | GEOMETRY                                  | well-known text, "POINT (1 2)"                                         |
 * | NULL                                      | null                                                                   |
 */
export type JsonShape = "objects" | "arrays"

/** Writes the values of a column: bind it to the vector of a chunk, then ask row by row. */
export type JsonColumn = (vector: Vector, count: number) => TextOf

export const jsonColumn = (type: DuckDBType, shape: JsonShape): JsonColumn => {
  const scalar = scalarText(type)
  const values = scalar === null ? nested(type, shape) : scalarJson(scalar, shape)
  return (vector, count) => {
    const isValid = validityOf(vector, count)
    const textOf = values(vector, count)
    return isValid === null ? textOf : (row) => (isValid(row) ? textOf(row) : "null")
  }
}

const scalarJson = ({ kind, bind }: ScalarText, shape: JsonShape): JsonColumn => {
  switch (kind) {
    case "number":
      return bind
    case "int64":
      return shape === "objects" ? bind : quoted(bind)
    case "exact":
    case "plain":
      return quoted(bind)
    case "float":
      return (vector, count) => {
        const textOf = bind(vector, count)
        return (row) => {
          const text = textOf(row)
          const last = text.charCodeAt(text.length - 1)
          return last >= 48 && last <= 57 ? text : `"${text}"` // NaN and the infinities end with a letter
        }
      }
    case "text":
      return (vector, count) => {
        const textOf = bind(vector, count)
        return (row) => JSON.stringify(textOf(row))
      }
  }
}

const quoted =
  (bind: JsonColumn): JsonColumn =>
  (vector, count) => {
    const textOf = bind(vector, count)
    return (row) => `"${textOf(row)}"`
  }

const nested = (type: DuckDBType, shape: JsonShape): JsonColumn => {
  switch (type.typeId) {
    case DuckDBTypeId.LIST: {
      const element = jsonColumn(type.valueType, shape)
      return (vector, count) => {
        const list = listData(vector, count)
        const textOf = element(list.child, list.childCount)
        return (row) => elements(textOf, list.offset(row), list.length(row))
      }
    }
    case DuckDBTypeId.ARRAY: {
      const element = jsonColumn(type.valueType, shape)
      const { length } = type
      return (vector, count) => {
        const textOf = element(arrayChild(vector), count * length)
        return (row) => elements(textOf, row * length, length)
      }
    }
    case DuckDBTypeId.STRUCT: {
      const fields = type.entryTypes.map((entry) => jsonColumn(entry, shape))
      const keys = type.entryNames.map((name) => JSON.stringify(name))
      return (vector, count) => {
        const texts = fields.map((field, index) => field(structChild(vector, index), count))
        return (row) => `{${texts.map((textOf, index) => `${keys[index]}:${textOf(row)}`).join(",")}}`
      }
    }
    case DuckDBTypeId.MAP: {
      const keyText = mapKey(type.keyType)
      const value = jsonColumn(type.valueType, shape)
      return (vector, count) => {
        const list = listData(vector, count)
        const keyOf = keyText(structChild(list.child, 0), list.childCount)
        const valueOf = value(structChild(list.child, 1), list.childCount)
        return (row) => elements((at) => `${keyOf(at)}:${valueOf(at)}`, list.offset(row), list.length(row), "{}")
      }
    }
    case DuckDBTypeId.UNION: {
      const members = type.memberTypes.map((member) => jsonColumn(member, shape))
      const keys = type.memberTags.map((tag) => JSON.stringify(tag))
      return (vector, count) => {
        const tags = viewOf(Uint8Array, structChild(vector, 0), count)
        const texts = members.map((member, index) => member(structChild(vector, index + 1), count))
        return (row) => `{${keys[tags[row]!]}:${texts[tags[row]!]!(row)}}`
      }
    }
    default:
      return (vector, count) => {
        const values = DuckDBVector.create(vector, count, type)
        return (row) => JSON.stringify(JsonDuckDBValueConverter(values.getItem(row), type, JsonDuckDBValueConverter))
      }
  }
}

/** Keys are never NULL. Those of numbers and times as their text, nested ones as the text of their JSON. */
const mapKey = (type: DuckDBType): JsonColumn => {
  const scalar = scalarText(type)
  const bind = scalar?.bind ?? jsonColumn(type, "arrays")
  return (vector, count) => {
    const textOf = bind(vector, count)
    return (row) => JSON.stringify(textOf(row))
  }
}

const elements = (textOf: TextOf, offset: number, length: number, brackets = "[]"): string => {
  let text = brackets[0]!
  for (let index = 0; index < length; index++) {
    if (index > 0) text += ","
    text += textOf(offset + index)
  }
  return text + brackets[1]!
}
