/** A type of DuckDB, parsed from its text (`DESCRIBE`, `typeof`, the client's type names). */
export type DuckType =
  | { readonly kind: "scalar"; readonly name: string }
  | { readonly kind: "decimal"; readonly precision: number; readonly scale: number }
  | { readonly kind: "enum" }
  | { readonly kind: "list"; readonly element: DuckType; readonly size: number | null }
  | { readonly kind: "map"; readonly key: DuckType; readonly value: DuckType }
  /** Name `""`: the field has none (`row(1, 2)`). */
  | { readonly kind: "struct"; readonly fields: ReadonlyArray<{ readonly name: string; readonly type: DuckType }> }
  | { readonly kind: "union" }

type Token = { readonly kind: "word" | "name" | "text" | "mark"; readonly text: string }

/** Canonical names of what DuckDB also accepts or prints in other places. */
const aliases: { readonly [name: string]: string } = {
  INT: "INTEGER",
  INT4: "INTEGER",
  INT8: "BIGINT",
  INT2: "SMALLINT",
  INT1: "TINYINT",
  INT128: "HUGEINT",
  LONG: "BIGINT",
  SHORT: "SMALLINT",
  BOOL: "BOOLEAN",
  LOGICAL: "BOOLEAN",
  REAL: "FLOAT",
  FLOAT4: "FLOAT",
  FLOAT8: "DOUBLE",
  TEXT: "VARCHAR",
  STRING: "VARCHAR",
  CHAR: "VARCHAR",
  BPCHAR: "VARCHAR",
  BYTEA: "BLOB",
  BINARY: "BLOB",
  VARBINARY: "BLOB",
  DATETIME: "TIMESTAMP",
  TIMESTAMP_US: "TIMESTAMP",
  TIMESTAMPTZ: "TIMESTAMP WITH TIME ZONE",
  TIMETZ: "TIME WITH TIME ZONE",
  BITSTRING: "BIT",
  VARINT: "BIGNUM",
  SQLNULL: "NULL",
}

const tokensOf = (text: string): ReadonlyArray<Token> | null => {
  const tokens: Array<Token> = []
  const pattern = /\s+|"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([()[\],])|([\p{L}\p{N}_$]+)/uy
  while (pattern.lastIndex < text.length) {
    const match = pattern.exec(text)
    if (match === null) return null
    if (match[1] !== undefined) tokens.push({ kind: "name", text: match[1].replaceAll('""', '"') })
    else if (match[2] !== undefined) tokens.push({ kind: "text", text: match[2].replaceAll("''", "'") })
    else if (match[3] !== undefined) tokens.push({ kind: "mark", text: match[3] })
    else if (match[4] !== undefined) tokens.push({ kind: "word", text: match[4] })
  }
  return tokens
}

/** Null when the text is no type. */
export const parseDuckType = (text: string): DuckType | null => {
  const tokens = tokensOf(text)
  if (tokens === null) return null
  let at = 0
  const isMark = (mark: string, offset = 0) => {
    const token = tokens[at + offset]
    return token?.kind === "mark" && token.text === mark
  }
  const take = (mark: string): boolean => {
    if (!isMark(mark)) return false
    at++
    return true
  }

  /** `( item, item, … )`; null when it is malformed. */
  const list = <A>(item: () => A | null): Array<A> | null => {
    if (!take("(")) return null
    const items: Array<A> = []
    if (take(")")) return items
    for (;;) {
      const parsed = item()
      if (parsed === null) return null
      items.push(parsed)
      if (take(")")) return items
      if (!take(",")) return null
    }
  }

  const integer = (): number | null => {
    const token = tokens[at]
    if (token?.kind !== "word" || !/^\d+$/.test(token.text)) return null
    at++
    return Number(token.text)
  }

  /** `name type`, or a bare type where a field has no name. */
  const member = (): { readonly name: string; readonly type: DuckType } | null => {
    const start = at
    const first = tokens[at]
    if (first?.kind === "word" || first?.kind === "name") {
      at++
      const next = tokens[at]
      if (next?.kind === "word" || next?.kind === "name") {
        const type = full()
        if (type !== null) return { name: first.text, type }
      }
    }
    at = start
    const type = full()
    return type === null ? null : { name: "", type }
  }

  const base = (): DuckType | null => {
    const first = tokens[at]
    if (first === undefined || (first.kind !== "word" && first.kind !== "name")) return null
    at++
    let name = first.text.toUpperCase()
    if (name === "DECIMAL" || name === "NUMERIC") {
      if (!isMark("(")) return { kind: "decimal", precision: 18, scale: 3 }
      const digits = list(integer)
      return digits?.length === 2 ? { kind: "decimal", precision: digits[0]!, scale: digits[1]! } : null
    }
    if (isMark("(")) {
      if (name === "STRUCT" || name === "ROW") {
        const fields = list(member)
        return fields === null ? null : { kind: "struct", fields }
      }
      if (name === "MAP") {
        const types = list(full)
        return types?.length === 2 ? { kind: "map", key: types[0]!, value: types[1]! } : null
      }
      if (name === "UNION") return list(member) === null ? null : { kind: "union" }
      if (name === "ENUM") return list(() => (tokens[at]?.kind === "text" ? tokens[at++]! : null)) && { kind: "enum" }
      // Parameters of other types (VARCHAR(10), GEOMETRY('…')) change nothing here.
      if (list(() => (tokens[at]?.kind === "mark" ? null : (tokens[at++] ?? null))) === null) return null
    }
    if (name === "TIMESTAMP" || name === "TIME") {
      const zone = tokens.slice(at, at + 3).map((token) => token.text.toUpperCase())
      if (zone.join(" ") === "WITH TIME ZONE") {
        at += 3
        name = `${name} WITH TIME ZONE`
      }
    }
    return { kind: "scalar", name: aliases[name] ?? name }
  }

  const full = (): DuckType | null => {
    let type = base()
    while (type !== null && take("[")) {
      const size = integer()
      if (!take("]")) return null
      type = { kind: "list", element: type, size }
    }
    return type
  }

  const type = full()
  return at === tokens.length ? type : null
}

/** Text of a type in the form that DuckDB prints, every name quoted; equal types have equal texts. */
export const printDuckType = (type: DuckType): string => {
  switch (type.kind) {
    case "scalar":
      return type.name
    case "decimal":
      return `DECIMAL(${type.precision},${type.scale})`
    case "enum":
      return "ENUM"
    case "list":
      return `${printDuckType(type.element)}[${type.size ?? ""}]`
    case "map":
      return `MAP(${printDuckType(type.key)}, ${printDuckType(type.value)})`
    case "struct":
      return `STRUCT(${type.fields.map((field) => `"${field.name.replaceAll('"', '""')}" ${printDuckType(field.type)}`).join(", ")})`
    case "union":
      return "UNION"
  }
}
