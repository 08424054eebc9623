import type { Field, IcebergType } from "../iceberg/TableMetadata.ts"
import { quoteName, quoteText } from "../scan/SqlText.ts"
import { type DuckType, parseDuckType, printDuckType } from "./DuckType.ts"

/**
 * The one table of types: DuckDB's on one side, Iceberg's (spec, "Schemas and Data Types") on the other; how values travel as JSON and
 * Arrow stands in `JsonText` and `ArrowColumn`.
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
 * | TIMESTAMP_NS (v3)                   | timestamp_ns     | TIMESTAMP_NS             |                                         |
 * | VARIANT (v3)                        | variant          | VARIANT                  | whole columns only: the engine cannot write it inside nested types |
 * | GEOMETRY (v3)                       | geometry         | GEOMETRY                 | whole columns only; the default reference system |
 * | TIMESTAMP WITH TIME ZONE            | timestamptz      | TIMESTAMP WITH TIME ZONE |                                         |
 * | T[], T[n]                           | list             | T[]                      |                                         |
 * | STRUCT(…), MAP(…, …)                | struct, map      | same                     |                                         |
 * | NULL (the type of a bare `null`)    | int              | INTEGER                  | as DuckDB itself does in CREATE TABLE   |
 *
 * Everything else (INTERVAL, TIME WITH TIME ZONE, TIME_NS, BIT, UNION, BIGNUM, unnamed structs; in v2 VARIANT and GEOMETRY) is
 * refused with the column's name and what to do. Of others' tables, fixed[n] (BLOB), timestamptz_ns (TIMESTAMP WITH TIME ZONE,
 * cut to µs), geography (GEOMETRY) and unknown (INTEGER, always NULL) are read and not written: see `unwritable`.
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
  NULL: "unknown",
}

const advice: { readonly [duck: string]: string } = {
  INTERVAL: "cast it to VARCHAR, or to a number with epoch(…)",
  "TIME WITH TIME ZONE": "cast it to TIME",
  TIME_NS: "cast it to TIME",
  BIT: "cast it to VARCHAR",
  BIGNUM: "cast it to DECIMAL(38,0) or VARCHAR",
  VARIANT: "set format_version: 3, or cast it to JSON or to the type it holds",
  GEOMETRY: "set format_version: 3, or store it as well-known binary: ST_AsWKB(…)",
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
  timestamp_ns: "TIMESTAMP_NS",
  variant: "VARIANT",
  unknown: "INTEGER",
}

/** DuckDB's name of an Iceberg type: what columns of tables are called in the API and what a stored column is read as. */
export const duckTypeOf = (type: IcebergType): string => {
  if (typeof type === "string") {
    const name = duckNames[type]
    if (name !== undefined) return name
    const decimal = /^decimal\((\d+),\s*(\d+)\)$/.exec(type)
    if (decimal !== null) return `DECIMAL(${decimal[1]},${decimal[2]})`
    if (/^geo(metry|graphy)/.test(type)) return "GEOMETRY"
    // The engine has no zoned time finer than µs: a value with nanoseconds is refused when a file of it is read.
    if (type === "timestamptz_ns") return "TIMESTAMP WITH TIME ZONE"
    return "BLOB" // fixed[n], the only other primitive; MetadataJson refuses what is none
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

/**
 * Why columns of an Iceberg type, as other engines make them, cannot be written here, as advice to the person; null when they can.
 * Reading them is possible: nanoseconds with a zone are cut to microseconds.
 */
export const unwritable = (type: IcebergType): string | null => {
  if (typeof type === "string") {
    return /^(timestamptz_ns|unknown|geography|geometry\(|fixed\[)/.test(type)
      ? `it has the Iceberg type ${type}, which this engine cannot write: write the table with the engine that made it, or drop the column there`
      : null
  }
  switch (type.type) {
    case "struct":
      return type.fields.map((field) => unwritable(field.type)).find((reason) => reason !== null) ?? null
    case "list":
      return unwritable(type.element)
    case "map":
      return unwritable(type.key) ?? unwritable(type.value)
  }
}

/** A column as it is stored: its Iceberg type, and the SQL that turns the result's column into a type that holds it. */
export interface StoredColumn {
  /** Field ids in it are 0. A bare `null` has the type `unknown`, which fits every column. */
  readonly type: IcebergType
  readonly expression: (column: string, target: IcebergType) => string
}

/**
 * How a result column of a DuckDB type is stored in a table of a format version; or, as text, why it cannot be.
 * All columns and nested fields are optional (`required: false`), as a query result promises nothing.
 */
export const storedColumn = (
  name: string,
  duckType: string,
  formatVersion: 2 | 3,
): { readonly column: StoredColumn } | { readonly problem: string } => {
  const parsed = parseDuckType(duckType)
  if (parsed === null) return { problem: `column "${name}" has the type ${duckType}, which is not understood` }
  const problem = problemOf(parsed, formatVersion, true)
  if (problem !== null) {
    return { problem: `column "${name}" has the type ${duckType}, which Iceberg v${formatVersion} lacks: ${problem}` }
  }
  const source = printDuckType(parsed)
  return {
    column: {
      type: icebergTypeOf(parsed, formatVersion),
      expression: (column, wanted) => {
        const target = duckTypeOf(wanted)
        if (source === target) return column
        if (source !== "TIMESTAMP_NS" || target !== "TIMESTAMP") return `cast(${column} as ${target})`
        const message = quoteText(
          `column "${name}" holds nanoseconds, which its type in the table cannot store: cast it to TIMESTAMP to round them off`,
        )
        return `case when cast(cast(${column} as TIMESTAMP) as TIMESTAMP_NS) is distinct from ${column} then error(${message}) else cast(${column} as TIMESTAMP) end`
      },
    },
  }
}

/** Types that only tables of format version 3 have. */
const v3Scalars: { readonly [duck: string]: string } = {
  TIMESTAMP_NS: "timestamp_ns",
  VARIANT: "variant",
  GEOMETRY: "geometry",
}

/** What DuckDB 1.5.5 writes to Parquet, or reads from it by field id, only as whole columns. */
const rootOnly: { readonly [duck: string]: string } = {
  VARIANT: "cast the VARIANT inside it to JSON",
  GEOMETRY: "store the GEOMETRY inside it as well-known binary: ST_AsWKB(…)",
}

const problemOf = (type: DuckType, formatVersion: 2 | 3, top: boolean): string | null => {
  switch (type.kind) {
    case "scalar":
      if (formatVersion === 3 && !top && rootOnly[type.name] !== undefined) return rootOnly[type.name]!
      if (formatVersion === 3 && v3Scalars[type.name] !== undefined) return null
      if (type.name === "TIMESTAMP_NS" && !top) {
        return "cast the nanosecond timestamps inside it to TIMESTAMP, or set format_version: 3"
      }
      return scalars[type.name] === undefined ? (advice[type.name] ?? "cast it to VARCHAR") : null
    case "decimal":
    case "enum":
      return null
    case "list":
      return problemOf(type.element, formatVersion, false)
    case "map":
      return problemOf(type.key, formatVersion, false) ?? problemOf(type.value, formatVersion, false)
    case "struct": {
      if (type.fields.some((field) => field.name === "")) return "give every field of the struct a name"
      if (type.fields.some((field) => field.name === "__duckdb_field_id")) return "rename its field __duckdb_field_id"
      for (const field of type.fields) {
        const problem = problemOf(field.type, formatVersion, false)
        if (problem !== null) return `${problem} (field "${field.name}")`
      }
      return null
    }
    case "union":
      return "cast it to VARCHAR, or to a STRUCT with one field for each member"
  }
}

const icebergTypeOf = (type: DuckType, formatVersion: 2 | 3): IcebergType => {
  const inner = (part: DuckType) => icebergTypeOf(part, formatVersion)
  switch (type.kind) {
    case "scalar":
      return (formatVersion === 3 ? v3Scalars[type.name] : undefined) ?? scalars[type.name]!
    case "decimal":
      return `decimal(${type.precision},${type.scale})`
    case "enum":
      return "string"
    case "list":
      return { type: "list", elementId: 0, elementRequired: false, element: inner(type.element) }
    case "map":
      return {
        type: "map",
        keyId: 0,
        key: inner(type.key),
        valueId: 0,
        valueRequired: false,
        value: inner(type.value),
      }
    case "struct":
      return {
        type: "struct",
        fields: type.fields.map(
          (field): Field => ({ id: 0, name: field.name, required: false, type: inner(field.type) }),
        ),
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

/**
 * Whether a column of type `from` may become `to` without rewriting its files (Iceberg spec, "Schema Evolution": int → long,
 * float → double, decimals of more digits; from version 3 on also date → timestamp, and unknown → anything).
 */
export const promotes = (from: string, to: string, formatVersion: 2 | 3 = 3): boolean => {
  if (from === to || from === "unknown") return true
  if (from === "int") return to === "long"
  if (from === "float") return to === "double"
  if (from === "date") return formatVersion === 3 && (to === "timestamp" || to === "timestamp_ns")
  const [before, after] = [from, to].map((type) => /^decimal\((\d+),\s*(\d+)\)$/.exec(type))
  return before != null && after != null && before[2] === after[2] && Number(before[1]) <= Number(after[1])
}
