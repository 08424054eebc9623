import * as fc from "fast-check"
import { quoteName, quoteText } from "../scan/SqlText.ts"

/** A value as SQL, and as a reader that knows nothing of ours shows it. Test support only. */
export interface RandomValue {
  readonly sql: string
  /** Numbers and times as text: digits, `2024-02-29T01:02:03.456Z`; UUIDs as hex; lists as arrays, structs and maps as objects. */
  readonly seen: unknown
}

interface RandomType {
  /** DuckDB's name of the type. */
  readonly type: string
  readonly value: fc.Arbitrary<RandomValue>
}

const scalar = (
  type: string,
  value: fc.Arbitrary<readonly [literal: string, seen: unknown]>,
): fc.Arbitrary<RandomType> =>
  fc.constant({
    type,
    value: fc.oneof(
      { weight: 8, arbitrary: value.map(([literal, seen]) => ({ sql: `cast(${literal} as ${type})`, seen })) },
      { weight: 1, arbitrary: fc.constant({ sql: `cast(null as ${type})`, seen: null }) },
    ),
  })

/** Readers in JavaScript make decimals of doubles; their last digits are noise. */
export const shownNumber = (value: number): string => String(Number(value.toPrecision(14)) + 0)

const text = (value: string) => [quoteText(value), value] as const
const digits = (value: number | bigint) => [String(value), String(value)] as const
const words = fc.string({ unit: fc.constantFrom(...Array.from("abcxyz 0123'\"\\äß🦆")), maxLength: 24 })
const days = fc.integer({ min: -30_000, max: 30_000 }).map((day) => new Date(day * 86_400_000))
const millis = fc.integer({ min: -2_000_000_000, max: 2_000_000_000 }).map((second) => new Date(second * 1000 + 789))
const decimal = (precision: number, scale: number) =>
  scalar(
    `DECIMAL(${precision},${scale})`,
    fc
      .bigInt({ min: -(10n ** BigInt(Math.min(precision, 13))) + 1n, max: 10n ** BigInt(Math.min(precision, 13)) - 1n })
      .map((unscaled) => {
        const sign = unscaled < 0n ? "-" : ""
        const shown = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, "0")
        const point = shown.length - scale
        const literal = `${sign}${shown.slice(0, point)}${scale === 0 ? "" : `.${shown.slice(point)}`}`
        return [quoteText(literal), shownNumber(Number(literal))] as const
      }),
  )

const scalars = [
  scalar(
    "BOOLEAN",
    fc.boolean().map((value) => [String(value), value] as const),
  ),
  scalar("TINYINT", fc.integer({ min: -128, max: 127 }).map(digits)),
  scalar("USMALLINT", fc.integer({ min: 0, max: 65_535 }).map(digits)),
  scalar("INTEGER", fc.integer().map(digits)),
  scalar("UINTEGER", fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(digits)),
  scalar("BIGINT", fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(digits)),
  scalar(
    "DOUBLE",
    fc.double({ noDefaultInfinity: true, noNaN: true }).map((value) => [`'${value}'`, shownNumber(value)] as const),
  ),
  scalar(
    "FLOAT",
    fc
      .integer({ min: -1_000_000, max: 1_000_000 })
      .map((value) => [String(value / 4), shownNumber(value / 4)] as const),
  ),
  decimal(5, 2),
  decimal(18, 0),
  decimal(38, 10),
  scalar("VARCHAR", words.map(text)),
  scalar(
    "BLOB",
    fc.constantFrom("", "plain", "longer than sixteen bytes").map((value) => [`encode('${value}')`, value] as const),
  ),
  scalar(
    "UUID",
    fc.uuid().map((value) => [quoteText(value), value.replaceAll("-", "")] as const),
  ),
  scalar(
    "DATE",
    days.map((day) => [`'${day.toISOString().slice(0, 10)}'`, day.toISOString()] as const),
  ),
  scalar(
    "TIMESTAMP",
    millis.map((at) => [`'${at.toISOString().slice(0, -1)}'`, at.toISOString()] as const),
  ),
  scalar(
    "TIMESTAMP WITH TIME ZONE",
    millis.map((at) => [`'${at.toISOString()}'`, at.toISOString()] as const),
  ),
] as const

const list = (element: RandomType): RandomType => ({
  type: `${element.type}[]`,
  value: fc.oneof(
    {
      weight: 6,
      arbitrary: fc.array(element.value, { maxLength: 3 }).map((values) => ({
        sql: `cast([${values.map(({ sql }) => sql).join(", ")}] as ${element.type}[])`,
        seen: values.map(({ seen }) => seen),
      })),
    },
    { weight: 1, arbitrary: fc.constant({ sql: `cast(null as ${element.type}[])`, seen: null }) },
  ),
})

const struct = (fields: ReadonlyArray<readonly [name: string, field: RandomType]>): RandomType => {
  const type = `STRUCT(${fields.map(([name, field]) => `${quoteName(name)} ${field.type}`).join(", ")})`
  return {
    type,
    value: fc.oneof(
      {
        weight: 6,
        arbitrary: fc.tuple(...fields.map(([, field]) => field.value)).map((values) => ({
          sql: `struct_pack(${fields.map(([name], index) => `${quoteName(name)} := ${values[index]!.sql}`).join(", ")})`,
          seen: Object.fromEntries(fields.map(([name], index) => [name, values[index]!.seen])),
        })),
      },
      { weight: 1, arbitrary: fc.constant({ sql: `cast(null as ${type})`, seen: null }) },
    ),
  }
}

const map = (value: RandomType): RandomType => ({
  type: `MAP(VARCHAR, ${value.type})`,
  value: fc.uniqueArray(fc.tuple(words, value.value), { maxLength: 3, selector: ([key]) => key }).map((entries) => ({
    sql: `cast(map([${entries.map(([key]) => quoteText(key)).join(", ")}], [${entries.map(([, inner]) => inner.sql).join(", ")}]) as MAP(VARCHAR, ${value.type}))`,
    seen: Object.fromEntries(entries.map(([key, inner]) => [key, inner.seen])),
  })),
})

const fieldName = fc.constantFrom("a", "b", "C", "d e", 'f"g', "ü")

const { type: randomType } = fc.letrec<{ type: RandomType }>((tie) => ({
  type: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    ...scalars,
    tie("type").map(list),
    tie("type").map(map),
    fc
      .uniqueArray(fc.tuple(fieldName, tie("type")), { minLength: 1, maxLength: 3, selector: ([name]) => name })
      .map(struct),
  ),
}))

export interface RandomTable {
  readonly columns: ReadonlyArray<{ readonly name: string; readonly type: string }>
  /** A query whose first column `n` numbers the rows from 0. */
  readonly query: string
  readonly rows: ReadonlyArray<Readonly<Record<string, unknown>>>
}

/** A query with random columns (nested too) and rows, and what its rows look like to others. */
export const randomTable: fc.Arbitrary<RandomTable> = fc
  .array(randomType, { minLength: 1, maxLength: 5 })
  .chain((types) =>
    fc.array(fc.tuple(...types.map(({ value }) => value)), { minLength: 1, maxLength: 5 }).map((rows): RandomTable => {
      const columns = types.map(({ type }, index) => ({ name: `c${index}`, type }))
      const selects = rows.map(
        (row, number) =>
          `select ${[`${number} as n`, ...columns.map(({ name }, index) => `${row[index]!.sql} as ${name}`)].join(", ")}`,
      )
      return {
        columns,
        query: selects.join(" union all "),
        rows: rows.map((row, number) => ({
          n: String(number),
          ...Object.fromEntries(columns.map(({ name }, index) => [name, row[index]!.seen])),
        })),
      }
    }),
  )
