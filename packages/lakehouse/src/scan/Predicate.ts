/** A value as a caller may have it; text is in DuckDB's format of the column's type. */
export type PredicateValue = string | number | bigint | boolean | Date

/** A comparison of a column with constants. */
export type Comparison =
  | {
      readonly column: string
      readonly op: "=" | "<" | "<=" | ">" | ">=" | "is null" | "is not null"
      readonly value?: PredicateValue
    }
  | { readonly column: string; readonly op: "in"; readonly values: ReadonlyArray<PredicateValue> }
  | { readonly column: string; readonly op: "starts with"; readonly value: string }

/**
 * What rows must satisfy to be of interest, as SQL judges it (unknown is not satisfied); files that cannot hold such rows are
 * left out.
 */
export type ScanPredicate =
  | Comparison
  | { readonly op: "and" | "or"; readonly of: ReadonlyArray<ScanPredicate> }
  | { readonly op: "not"; readonly of: ScanPredicate }

/** Where the keys of a merge lie in one column. */
export interface KeyRange {
  readonly column: string
  /** Smallest and largest key in DuckDB's text; null when all keys are NULL. */
  readonly min: string | null
  readonly max: string | null
  /** Whether a key is NULL (NULL equals NULL for keys). */
  readonly hasNulls: boolean
}

export const keyRangePredicates = (keys: ReadonlyArray<KeyRange>): ReadonlyArray<ScanPredicate> =>
  keys.map(({ column, hasNulls, max, min }): ScanPredicate => {
    const isNull: ScanPredicate = { column, op: "is null" }
    if (min === null || max === null) return hasNulls ? isNull : { op: "or", of: [] }
    const range: ScanPredicate = {
      op: "and",
      of: [
        { column, op: ">=", value: min },
        { column, op: "<=", value: max },
      ],
    }
    return hasNulls ? { op: "or", of: [range, isNull] } : range
  })

const opposite = {
  "<": ">=",
  "<=": ">",
  ">": "<=",
  ">=": "<",
  "is null": "is not null",
  "is not null": "is null",
} as const

/**
 * The predicate without `not`: null when nothing is known of it. DuckDB's order is total (NaN is the greatest), so the opposite of
 * `<` is `>=`; a NULL satisfies neither.
 */
export const withoutNot = (predicate: ScanPredicate, isNegated = false): PlainPredicate | null => {
  switch (predicate.op) {
    case "not":
      return withoutNot(predicate.of, !isNegated)
    case "and":
    case "or": {
      const op = isNegated === (predicate.op === "and") ? "or" : "and"
      const parts = predicate.of.map((part) => withoutNot(part, isNegated))
      const known = parts.filter((part) => part !== null)
      return op === "or" && known.length < parts.length ? null : { op, of: known }
    }
    case "=":
    case "in":
    case "starts with":
      return isNegated ? null : predicate
    default:
      return isNegated ? { ...predicate, op: opposite[predicate.op] } : predicate
  }
}

export type PlainPredicate = Comparison | { readonly op: "and" | "or"; readonly of: ReadonlyArray<PlainPredicate> }
