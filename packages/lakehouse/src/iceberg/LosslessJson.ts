/**
 * JSON without loss of 64-bit integers: snapshot ids and sequence numbers of Iceberg exceed 2^53, where a JavaScript
 * number rounds. Integers that a number cannot hold come as bigint; bigints are written as plain JSON numbers.
 */
type Reviver = (this: unknown, key: string, value: unknown, context: { readonly source?: string }) => unknown
/** ES2026 "JSON.parse source text access"; Node has it since 22, TypeScript's library not yet. */
const json = JSON as unknown as {
  parse(text: string, reviver: Reviver): unknown
  rawJSON(text: string): unknown
}

/** Throws a SyntaxError like `JSON.parse`. */
export const parseLosslessJson = (text: string): unknown =>
  // A reviver makes parsing several times slower, so only a text that can hold such a number pays for it.
  /[0-9]{16}/.test(text)
    ? json.parse(text, (_key, value, context) =>
        typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source ?? "")
          ? BigInt(context.source!)
          : value,
      )
    : JSON.parse(text)

export const printLosslessJson = (value: unknown): string =>
  JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? json.rawJSON(item.toString()) : item))
