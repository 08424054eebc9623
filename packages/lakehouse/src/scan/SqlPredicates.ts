import type { ScanPredicate } from "./Predicate.ts"
import { constantOf, isNode, type Node, nodes, text } from "./SqlConstant.ts"

/*
 * What a SQL text asks of its tables, from DuckDB's own syntax tree (`json_serialize_sql`), so that files which cannot matter are
 * not even made readable. Invariant: rows that do not satisfy what is found here never change the text's result. Only what certainly
 * is a comparison of a table's own column with a constant counts: columns by the table's alias, or bare where the block reads
 * nothing else; blocks whose joins pick rows by position or nearness (ASOF, POSITIONAL), samples and anything unknown count as asking
 * for everything. A table that is read several times is asked for all that any of the places needs.
 */

/** A table as a text names it, in lower case; empty where the text says nothing. */
export interface SqlTableName {
  readonly catalog: string
  readonly schema: string
  readonly table: string
}

/** A key for {@link SqlTableName}. */
export const sqlTableKey = ({ catalog, schema, table }: SqlTableName): string =>
  [catalog, schema, table].map((part) => JSON.stringify(part.toLowerCase())).join(".")

/** A table that a name means; a table may have several names. */
export interface SqlTable {
  readonly id: string
  /** DuckDB's types of its columns, by name in lower case. */
  readonly columns: ReadonlyMap<string, string>
}

/** Numbers stay texts: 64-bit integers do not fit a JavaScript number. */
const parseTree = (tree: string): unknown =>
  JSON.parse(tree, (_key: string, value: unknown, context?: { readonly source?: string }) =>
    typeof value === "number" ? { number: context?.source ?? String(value) } : value,
  )

/** Functions that read tables by names in texts. */
const readsByName = new Set(["query", "query_table"])

interface Place {
  readonly table: SqlTable
  readonly predicates: Array<ScanPredicate>
}

/** Predicates by the table's id; a table without any is not in the answer. `tableOf`: undefined for what is no table of ours. */
export const sqlPredicates = (
  tree: string,
  tableOf: (name: SqlTableName) => SqlTable | undefined,
): ReadonlyMap<string, ReadonlyArray<ScanPredicate>> => {
  const places = new Map<Node, Place>()
  let isCertain = true
  const root = parseTree(tree)
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) {
      for (const item of value) visit(item)
      return
    }
    if (!isNode(value)) return
    if (value.type === "FUNCTION" && readsByName.has(text(value.function_name).toLowerCase())) isCertain = false
    if (value.type === "BASE_TABLE") addPlace(places, value, tableOf)
    for (const child of Object.values(value)) visit(child)
    if (value.type === "SELECT_NODE") addPredicates(places, value)
  }
  visit(root)
  const found = new Map<string, ReadonlyArray<ScanPredicate>>()
  if (!isCertain || (isNode(root) && root.error === true)) return found
  for (const [key, same] of Map.groupBy(places.values(), ({ table }) => table.id)) {
    if (same.some(({ predicates }) => predicates.length === 0)) continue
    const [only] = same
    found.set(
      key,
      same.length === 1
        ? only!.predicates
        : [{ op: "or", of: same.map(({ predicates }): ScanPredicate => ({ op: "and", of: predicates })) }],
    )
  }
  return found
}

const addPlace = (
  places: Map<Node, Place>,
  node: Node,
  tableOf: (name: SqlTableName) => SqlTable | undefined,
): void => {
  const name = { catalog: text(node.catalog_name), schema: text(node.schema_name), table: text(node.table_name) }
  const table = tableOf(name)
  if (table !== undefined) places.set(node, { table, predicates: [] })
}

/** Joins whose rows a filter behind them may be moved through. */
const joinTypes = new Set(["INNER", "LEFT", "RIGHT", "OUTER", "FULL", "SEMI", "ANTI"])

interface Block {
  readonly sources: Array<Node>
  readonly conditions: Array<unknown>
  hasOuter: boolean
  isPlain: boolean
}

const readFrom = (node: unknown, block: Block): void => {
  if (!isNode(node) || (node.sample !== null && node.sample !== undefined)) {
    block.isPlain = false
    return
  }
  if (node.type === "JOIN") {
    const kind = text(node.join_type)
    const isKnown = (node.ref_type === "REGULAR" || node.ref_type === "CROSS") && joinTypes.has(kind)
    if (!isKnown) block.isPlain = false
    if (kind !== "INNER") block.hasOuter = true
    else if (node.ref_type === "REGULAR") block.conditions.push(node.condition)
    readFrom(node.left, block)
    readFrom(node.right, block)
  } else if (node.type === "BASE_TABLE" || node.type === "SUBQUERY") block.sources.push(node)
  else block.isPlain = false
}

const addPredicates = (places: Map<Node, Place>, select: Node): void => {
  if (select.sample !== null && select.sample !== undefined) return
  const block: Block = { sources: [], conditions: [], hasOuter: false, isPlain: true }
  readFrom(select.from_table, block)
  if (!block.isPlain) return
  const aliases = block.sources.map((source) => (text(source.alias) || text(source.table_name)).toLowerCase())
  const placeOf = (names: ReadonlyArray<string>): Place | undefined => {
    const [first, second] = names
    if (names.length === 1) return block.sources.length === 1 ? places.get(block.sources[0]!) : undefined
    if (names.length !== 2 || first === undefined || second === undefined) return undefined
    const at = aliases.indexOf(first.toLowerCase())
    if (at < 0 || aliases.lastIndexOf(first.toLowerCase()) !== at) return undefined
    return places.get(block.sources[at]!)
  }
  // `from orders as o(a, b)` gives the columns other names.
  const isRenamed = (place: Place) =>
    block.sources.some((source) => places.get(source) === place && nodesOrTexts(source.column_name_alias) > 0)
  const reader: Reader = {
    hasOuter: block.hasOuter,
    columnOf: (names) => {
      const place = placeOf(names)
      const name = names.at(-1)?.toLowerCase() ?? ""
      const type = place?.table.columns.get(name)
      return place === undefined || type === undefined || isRenamed(place) ? undefined : { place, name, type }
    },
  }
  // Conditions of inner joins are filters where all joins are inner ones.
  for (const condition of [select.where_clause, ...(block.hasOuter ? [] : block.conditions)]) {
    for (const part of conjuncts(condition)) {
      const found = predicateOf(part, reader)
      if (found !== null) found.place.predicates.push(found.predicate)
    }
  }
}

const nodesOrTexts = (value: unknown): number => (Array.isArray(value) ? value.length : 0)

const conjuncts = (condition: unknown): ReadonlyArray<Node> => {
  if (!isNode(condition)) return []
  return condition.type === "CONJUNCTION_AND" ? nodes(condition.children).flatMap(conjuncts) : [condition]
}

interface Reader {
  /** Rows may have NULLs that are in no table: `is null` says nothing about it then. */
  readonly hasOuter: boolean
  readonly columnOf: (
    names: ReadonlyArray<string>,
  ) => { readonly place: Place; readonly name: string; readonly type: string } | undefined
}

interface Found {
  readonly place: Place
  readonly predicate: ScanPredicate
  /** Whether it says as much as the SQL does: only then its opposite may be taken. */
  readonly isExact: boolean
}

const comparisons: { readonly [type: string]: "=" | "<" | "<=" | ">" | ">=" } = {
  COMPARE_EQUAL: "=",
  COMPARE_LESSTHAN: "<",
  COMPARE_LESSTHANOREQUALTO: "<=",
  COMPARE_GREATERTHAN: ">",
  COMPARE_GREATERTHANOREQUALTO: ">=",
}
const mirrored = { "=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<=" } as const

/** What an expression asks of one table; null when nothing is certain, or when it is about several. */
const predicateOf = (node: Node, reader: Reader): Found | null => {
  const type = text(node.type)
  const op = comparisons[type]
  if (op !== undefined) return compared(op, node.left, node.right, reader)
  switch (type) {
    case "CONJUNCTION_AND":
    case "CONJUNCTION_OR":
      return combined(type === "CONJUNCTION_AND" ? "and" : "or", nodes(node.children), reader)
    case "OPERATOR_NOT": {
      const [child] = nodes(node.children)
      const inner = child === undefined ? null : predicateOf(child, reader)
      return inner?.isExact ? { ...inner, predicate: { op: "not", of: inner.predicate } } : null
    }
    case "OPERATOR_IS_NULL":
    case "OPERATOR_IS_NOT_NULL": {
      const column = columnOf(nodes(node.children)[0], reader)
      if (column === undefined || reader.hasOuter) return null
      const is = type === "OPERATOR_IS_NULL" ? "is null" : "is not null"
      return { place: column.place, predicate: { column: column.name, op: is }, isExact: true }
    }
    case "COMPARE_BETWEEN": {
      const [lower, upper] = [
        compared(">=", node.input, node.lower, reader),
        compared("<=", node.input, node.upper, reader),
      ]
      return joined("and", [lower, upper], true)
    }
    case "COMPARE_IN": {
      const [first, ...rest] = nodes(node.children)
      const column = columnOf(first, reader)
      const values = rest.map((value) => (column === undefined ? undefined : constantOf(value, column.type)))
      if (column === undefined || values.includes(undefined)) return null
      const known = values.filter((value) => value !== undefined)
      return { place: column.place, predicate: { column: column.name, op: "in", values: known }, isExact: true }
    }
    case "FUNCTION":
      return prefixOf(node, reader)
    default:
      return null
  }
}

const combined = (op: "and" | "or", children: ReadonlyArray<Node>, reader: Reader): Found | null =>
  joined(
    op,
    children.map((child) => predicateOf(child, reader)),
    true,
  )

const joined = (op: "and" | "or", parts: ReadonlyArray<Found | null>, isExact: boolean): Found | null => {
  const known = parts.filter((part) => part !== null)
  const [first] = known
  if (first === undefined || known.some(({ place }) => place !== first.place)) return null
  if (op === "or" && known.length < parts.length) return null
  return {
    place: first.place,
    predicate: { op, of: known.map(({ predicate }) => predicate) },
    isExact: isExact && known.length === parts.length && known.every((part) => part.isExact),
  }
}

const columnOf = (node: unknown, reader: Reader) => {
  if (!isNode(node) || node.type !== "COLUMN_REF" || !Array.isArray(node.column_names)) return undefined
  return reader.columnOf(node.column_names.map(text))
}

const compared = (op: "=" | "<" | "<=" | ">" | ">=", left: unknown, right: unknown, reader: Reader): Found | null => {
  const column = columnOf(left, reader)
  if (column === undefined) {
    return columnOf(right, reader) === undefined ? null : compared(mirrored[op], right, left, reader)
  }
  const value = constantOf(right, column.type)
  if (value === undefined) return null
  return { place: column.place, predicate: { column: column.name, op, value }, isExact: true }
}

/** `like 'abc%'` and `starts_with(…, 'abc')`. */
const prefixOf = (node: Node, reader: Reader): Found | null => {
  const name = text(node.function_name)
  if (!["~~", "starts_with", "prefix", "^@"].includes(name)) return null
  const [first, second, ...more] = nodes(node.children)
  const column = columnOf(first, reader)
  if (column === undefined || column.type !== "VARCHAR" || more.length > 0) return null
  const pattern = constantOf(second, "VARCHAR")
  if (typeof pattern !== "string") return null
  const { name: columnName, place } = column
  const startsWith = (value: string): ScanPredicate => ({ column: columnName, op: "starts with", value })
  if (name !== "~~") return { place, predicate: startsWith(pattern), isExact: true }
  const wild = pattern.search(/[%_]/)
  if (wild < 0) return { place, predicate: { column: columnName, op: "=", value: pattern }, isExact: true }
  if (wild === 0) return null
  return { place, predicate: startsWith(pattern.slice(0, wild)), isExact: pattern.slice(wild) === "%" }
}
