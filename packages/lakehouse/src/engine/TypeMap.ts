import type { Field, IcebergType } from "../iceberg/TableMetadata.ts"
import { quoteName, quoteText } from "../scan/SqlText.ts"
import { type DuckType, parseDuckType, printDuckType } from "./DuckType.ts"

/**
 * The one table of types: DuckDB's on one side, Iceberg's (spec v2, "Schemas and Data Types") on the other.
 * Rule: a value is stored exactly or the statement fails; nothing wraps or is rounded.
 *
 * | DuckDB                              | Iceberg          | read back as             | note                                    |
 * |-------------------------------------|------------------|--------------------------|-----------------------------------------|
 * | BOOLEAN                             | boolean          | BOOLEAN                  |                                         |
 * | TINYINT SMALLINT INTEGER            | int              | INTEGER                  |                                         |
 * | UTINYINT USMALLINT                  | int              | INTEGER                  |                                         |
 * | BIGINT, UINTEGER                    | long             | BIGINT                   |                                         |
 * | UBIGINT                             | decimal(20,0)    | DECIMAL(20,0)            |                                         |
 * | HUGEINT, UHUGEINT (integer sums)    | decimal(38,0)    | DECIMAL(38,0)            | 39 digits and more fail in the cast     |
 * | FLOAT, DOUBLE                       | float, double    | same                     |                                         |
 * | DECIMAL(p,s)                        | decimal(p,s)     | same                     |                                         |
 * | VARCHAR, ENUM, JSON                 | string           | VARCHAR                  |                                         |
 * | BLOB                                | binary           | BLOB                     |                                         |
 * | UUID                                | uuid             | UUID                     |                                         |
 * | DATE, TIME                          | date, time       | same                     |                                         |
 * | TIMESTAMP, TIMESTAMP_S, _MS         | timestamp        | TIMESTAMP (µs)           |                                         |
 * | TIMESTAMP_NS                        | timestamp        | TIMESTAMP (µs)           | v2 has no ns: a value that µs cannot hold fails; inside a nested type it is refused |
 * | TIMESTAMP WITH TIME ZONE            | timestamptz      | TIMESTAMP WITH TIME ZONE |                                         |
 * | T[], T[n]                           | list             | T[]                      |                                         |
 * | STRUCT(…), MAP(…, …)                | struct, map      | same                     |                                         |
 * | NULL (the type of a bare `null`)    | int              | INTEGER                  | as DuckDB itself does in CREATE TABLE   |
 *
 * Everything else (INTERVAL, TIME WITH TIME ZONE, TIME_NS, BIT, UNION, BIGNUM, VARIANT, GEOMETRY, unnamed structs) is
 * refused with the column's name and what to cast to.
 */
const scalars: { readonly [duck: string]: string } = {
  BOOLEAN: "boolean",
  TINYINT: "int",
  SMALLINT: "int",
  INTEGER: "int",
  UTINYINT: "int",
  USMALLINT: "int",
  BIGINT: "long",
  UINTEGER: "long",
  UBIGINT: "decimal(20,0)",
  HUGEINT: "decimal(38,0)",
  UHUGEINT: "decimal(38,0)",
  FLOAT: "float",
  DOUBLE: "double",
  VARCHAR: "string",
  JSON: "string",
  BLOB: "binary",
  UUID: "uuid",
  DATE: "date",
  TIME: "time",
  TIMESTAMP: "timestamp",
  TIMESTAMP_S: "timestamp",
  TIMESTAMP_MS: "timestamp",
  TIMESTAMP_NS: "timestamp",
  "TIMESTAMP WITH TIME ZONE": "timestamptz",
  NULL: "int",
}

const advice: { readonly [duck: string]: string } = {
  INTERVAL: "cast it to VARCHAR, or to a number with epoch(…)",
  "TIME WITH TIME ZONE": "cast it to TIME",
  TIME_NS: "cast it to TIME",
  BIT: "cast it to VARCHAR",
  BIGNUM: "cast it to DECIMAL(38,0) or VARCHAR",
  VARIANT: "cast it to JSON or to the type it holds",
  GEOMETRY: "store it as WKB: ST_AsWKB(…)",
}

const duckNames: { readonly [iceberg: string]: string } = {
  boolean: "BOOLEAN",
  int: "INTEGER",
  long: "BIGINT",
  float: "FLOAT",
  double: "DOUBLE",
  string: "VARCHAR",
  binary: "BLOB",
  uuid: "UUID",
  date: "DATE",
  time: "TIME",
  timestamp: "TIMESTAMP",
  timestamptz: "TIMESTAMP WITH TIME ZONE",
}

/** DuckDB's name of an Iceberg type: what columns of tables are called in the API and what a stored column is read as. */
export const duckTypeOf = (type: IcebergType): string => {
  if (typeof type === "string") {
    const name = duckNames[type]
    if (name !== undefined) return name
    const decimal = /^decimal\((\d+),\s*(\d+)\)$/.exec(type)
    if (decimal !== null) return `DECIMAL(${decimal[1]},${decimal[2]})`
    return "BLOB" // fixed[n], the only other primitive of v2; MetadataJson refuses what is none
  }
  switch (type.type) {
    case "struct":
      return `STRUCT(${type.fields.map((field) => `${quoteName(field.name)} ${duckTypeOf(field.type)}`).join(", ")})`
    case "list":
      return `${duckTypeOf(type.element)}[]`
    case "map":
      return `MAP(${duckTypeOf(type.key)}, ${duckTypeOf(type.value)})`
  }
}

/** A column as it is stored: its Iceberg type, and the SQL that turns the result's column into it. */
export interface StoredColumn {
  readonly type: IcebergType
  readonly expression: (column: string) => string
}

/**
 * How a result column of a DuckDB type is stored, field ids taken from `nextId`; or, as text, why it cannot be.
 * All columns and nested fields are optional (`required: false`), as a query result promises nothing.
 */
export const storedColumn = (
  name: string,
  duckType: string,
  nextId: () => number,
): { readonly column: StoredColumn } | { readonly problem: string } => {
  const parsed = parseDuckType(duckType)
  if (parsed === null) return { problem: `column "${name}" has the type ${duckType}, which is not understood` }
  const problem = problemOf(parsed, true)
  if (problem !== null) return { problem: `column "${name}" has the type ${duckType}, which Iceberg lacks: ${problem}` }
  const type = icebergTypeOf(parsed, nextId)
  const target = duckTypeOf(type)
  const source = printDuckType(parsed)
  return {
    column: {
      type,
      expression: (column) => {
        if (source === target) return column
        if (source !== "TIMESTAMP_NS") return `cast(${column} as ${target})`
        const message = quoteText(
          `column "${name}" holds nanoseconds, which Iceberg v2 cannot store: cast it to TIMESTAMP to round them off`,
        )
        return `case when cast(cast(${column} as TIMESTAMP) as TIMESTAMP_NS) is distinct from ${column} then error(${message}) else cast(${column} as TIMESTAMP) end`
      },
    },
  }
}

const problemOf = (type: DuckType, top: boolean): string | null => {
  switch (type.kind) {
    case "scalar":
      if (type.name === "TIMESTAMP_NS" && !top) return "cast the nanosecond timestamps inside it to TIMESTAMP"
      return scalars[type.name] === undefined ? (advice[type.name] ?? "cast it to VARCHAR") : null
    case "decimal":
    case "enum":
      return null
    case "list":
      return problemOf(type.element, false)
    case "map":
      return problemOf(type.key, false) ?? problemOf(type.value, false)
    case "struct": {
      if (type.fields.some((field) => field.name === "")) return "give every field of the struct a name"
      if (type.fields.some((field) => field.name === "__duckdb_field_id")) return "rename its field __duckdb_field_id"
      for (const field of type.fields) {
        const problem = problemOf(field.type, false)
        if (problem !== null) return `${problem} (field "${field.name}")`
      }
      return null
    }
    case "union":
      return "cast it to VARCHAR, or to a STRUCT with one field for each member"
  }
}

const icebergTypeOf = (type: DuckType, nextId: () => number): IcebergType => {
  switch (type.kind) {
    case "scalar":
      return scalars[type.name]!
    case "decimal":
      return `decimal(${type.precision},${type.scale})`
    case "enum":
      return "string"
    case "list": {
      const elementId = nextId()
      return { type: "list", elementId, elementRequired: false, element: icebergTypeOf(type.element, nextId) }
    }
    case "map": {
      const keyId = nextId()
      const valueId = nextId()
      return {
        type: "map",
        keyId,
        key: icebergTypeOf(type.key, nextId),
        valueId,
        valueRequired: false,
        value: icebergTypeOf(type.value, nextId),
      }
    }
    case "struct": {
      const ids = type.fields.map(() => nextId())
      return {
        type: "struct",
        fields: type.fields.map(
          (field, index): Field => ({
            id: ids[index]!,
            name: field.name,
            required: false,
            type: icebergTypeOf(field.type, nextId),
          }),
        ),
      }
    }
    case "union":
      return "string" // unreachable: problemOf refuses it
  }
}

/**
 * Whether every value of `from` is exactly a value of `to` (both Iceberg primitives): the widenings that an appended
 * column may have. Iceberg's own promotions ("Schema Evolution") plus integers into decimals and doubles that hold them.
 */
export const widens = (from: string, to: string): boolean => {
  if (from === to) return true
  const digits = (type: string): readonly [whole: number, scale: number] | null => {
    if (type === "int") return [10, 0]
    if (type === "long") return [19, 0]
    const decimal = /^decimal\((\d+),\s*(\d+)\)$/.exec(type)
    return decimal === null ? null : [Number(decimal[1]) - Number(decimal[2]), Number(decimal[2])]
  }
  if (from === "int" && (to === "long" || to === "double")) return true
  if (from === "float" && to === "double") return true
  const [source, target] = [digits(from), digits(to)]
  return (
    to.startsWith("decimal") && source !== null && target !== null && source[0] <= target[0] && source[1] <= target[1]
  )
}
