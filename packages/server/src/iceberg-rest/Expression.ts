import type { IcebergType, PredicateValue, ScanPredicate, Schema } from "@rat/lakehouse"
import { printLosslessJson } from "@rat/lakehouse"
import { Result } from "effect"
import { type RestFailure, refuse } from "./RestFailure.ts"

/**
 * Filters of scan requests (REST catalog, `Predicate`) as predicates of the planner. They only leave files out, and clients apply the
 * whole filter to the rows, so what has no counterpart keeps every file.
 */

interface Context {
  readonly schema: Schema
  readonly isCaseSensitive: boolean
}

type Json = Readonly<Record<string, unknown>>

/**
 * What is known of a part: rows that satisfy it satisfy the predicate. `isExact`: the others do not, NULLs in the column included, so
 * that the negation of the predicate says as much of the part's negation.
 */
interface Known {
  readonly predicate: ScanPredicate
  readonly isExact: boolean
}

const everything: ScanPredicate = { op: "and", of: [] }
const nothing: ScanPredicate = { op: "or", of: [] }
const unknown: Known = { predicate: everything, isExact: false }
const exactly = (predicate: ScanPredicate): Known => ({ predicate, isExact: true })
/** Equalities: their opposite is told to hold for NULL, which no opposite of the planner's does. */
const atMost = (predicate: ScanPredicate): Known => ({ predicate, isExact: false })

const bad = (reason: string): Result.Result<never, RestFailure> =>
  Result.fail(refuse("BadRequestException", `The filter is not valid: ${reason}.`))

const comparisons = {
  lt: "<",
  "lt-eq": "<=",
  gt: ">",
  "gt-eq": ">=",
  eq: "=",
} as const

/** Known to the specification, without a counterpart that leaves files out. */
const untold = new Set(["not-eq", "not-in", "not-starts-with", "is-nan", "not-nan"])

const fieldOf = (schema: Schema, path: string, isCaseSensitive: boolean): IcebergType | undefined => {
  const same = (left: string, right: string) =>
    isCaseSensitive ? left === right : left.toLowerCase() === right.toLowerCase()
  const whole = schema.fields.find(({ name }) => same(name, path))
  if (whole !== undefined) return whole.type
  let fields = schema.fields
  let type: IcebergType | undefined
  for (const part of path.split(".")) {
    type = fields.find(({ name }) => same(name, part))?.type
    if (type === undefined) return undefined
    fields = typeof type !== "string" && type.type === "struct" ? type.fields : []
  }
  return type
}

/** The column that a term names; null when it is more than a column (a transform, a function) or is nested. */
const columnOf = (term: unknown, { isCaseSensitive, schema }: Context): Result.Result<string | null, RestFailure> => {
  const reference = term as Json | string | null
  let name: string
  if (typeof reference === "string") name = reference
  else if (reference?.type === "reference" && typeof reference.name === "string") name = reference.name
  else if (reference?.type === "reference" && Number.isSafeInteger(reference.id)) {
    const field = schema.fields.find(({ id }) => id === reference.id)
    return Result.succeed(field?.name ?? null)
  } else if (reference?.type === "transform" || reference?.type === "apply" || reference?.type === "literal") {
    return Result.succeed(null)
  } else return bad(`${printLosslessJson(term ?? null).slice(0, 100)} names no column`)
  const type = fieldOf(schema, name, isCaseSensitive)
  if (type === undefined) {
    return bad(
      `there is no column "${name.slice(0, 200)}". The columns are: ${schema.fields
        .map((field) => field.name)
        .join(", ")
        .slice(0, 500)}`,
    )
  }
  const column = schema.fields.find((field) =>
    isCaseSensitive ? field.name === name : field.name.toLowerCase() === name.toLowerCase(),
  )
  return Result.succeed(column === undefined || typeof column.type !== "string" ? null : column.name)
}

const valueOf = (literal: unknown): PredicateValue | null => {
  const value =
    literal !== null && typeof literal === "object" && (literal as Json).type === "literal"
      ? (literal as Json).value
      : literal
  return typeof value === "string" ||
    typeof value === "number" ||
    typeof value === "bigint" ||
    typeof value === "boolean"
    ? value
    : null
}

/** Timestamps are written with a T on the wire. */
const inOurText = (value: PredicateValue): PredicateValue =>
  typeof value === "string" && /^\d{4,}-\d\d-\d\dT/.test(value) ? value.replace("T", " ") : value

const isLiteral = (term: unknown): boolean =>
  term === null || typeof term !== "object" || (term as Json).type === "literal"

const compare = (type: keyof typeof comparisons | "starts-with", json: Json, context: Context) => {
  const term = json.left ?? json.term ?? json.child
  const other = json.right ?? json.value
  if (!isLiteral(other) || (json.left !== undefined && isLiteral(json.left))) return Result.succeed(unknown)
  return Result.flatMap(columnOf(term, context), (column): Result.Result<Known, RestFailure> => {
    const value = valueOf(other)
    if (value === null)
      return bad(`${type} compares with ${printLosslessJson(other ?? null).slice(0, 100)}, which is no value`)
    if (column === null) return Result.succeed(unknown)
    if (type === "starts-with") {
      return Result.succeed(typeof value === "string" ? atMost({ column, op: "starts with", value }) : unknown)
    }
    const predicate: ScanPredicate = { column, op: comparisons[type], value: inOurText(value) }
    return Result.succeed(type === "eq" ? atMost(predicate) : exactly(predicate))
  })
}

const setOf = (json: Json, context: Context): Result.Result<Known, RestFailure> => {
  const list = Array.isArray(json.values) ? json.values : (json.values as Json | null)?.values
  if (!Array.isArray(list)) return bad("in needs a list of values")
  return Result.flatMap(columnOf(json.child ?? json.term, context), (column) => {
    const values = list.map(valueOf)
    if (values.some((value) => value === null)) return bad("a value of in is no value")
    const known = (values as ReadonlyArray<PredicateValue>).map(inOurText)
    return Result.succeed(column === null ? unknown : atMost({ column, op: "in", values: known }))
  })
}

const convert = (expression: unknown, context: Context): Result.Result<Known, RestFailure> => {
  if (expression === true) return Result.succeed(exactly(everything))
  if (expression === false) return Result.succeed(exactly(nothing))
  const json = expression as Json | null
  const type = json?.type
  if (json === null || typeof json !== "object" || typeof type !== "string") {
    return bad(`${printLosslessJson(expression ?? null).slice(0, 100)} is no predicate`)
  }
  switch (type) {
    case "true":
      return Result.succeed(exactly(everything))
    case "false":
      return Result.succeed(exactly(nothing))
    case "and":
    case "or":
      return Result.flatMap(convert(json.left, context), (left) =>
        Result.map(convert(json.right, context), (right) => ({
          predicate: { op: type, of: [left.predicate, right.predicate] },
          isExact: left.isExact && right.isExact,
        })),
      )
    case "not":
      return Result.map(convert(json.child, context), (child) =>
        child.isExact ? exactly({ op: "not", of: child.predicate }) : unknown,
      )
    case "is-null":
    case "not-null":
      return Result.map(columnOf(json.child ?? json.term, context), (column) =>
        column === null ? unknown : exactly({ column, op: type === "is-null" ? "is null" : "is not null" }),
      )
    case "in":
      return setOf(json, context)
    case "lt":
    case "lt-eq":
    case "gt":
    case "gt-eq":
    case "eq":
    case "starts-with":
      return compare(type, json, context)
    default:
      return untold.has(type)
        ? Result.map(columnOf(json.child ?? json.left ?? json.term, context), () => unknown)
        : bad(`"${type.slice(0, 50)}" is no kind of predicate`)
  }
}

/** The predicate to plan with; null when the filter leaves no file out. */
export const scanPredicate = (
  filter: unknown,
  schema: Schema,
  isCaseSensitive: boolean,
): Result.Result<ScanPredicate | null, RestFailure> =>
  Result.map(convert(filter, { schema, isCaseSensitive }), ({ predicate }) =>
    predicate === everything ? null : predicate,
  )
