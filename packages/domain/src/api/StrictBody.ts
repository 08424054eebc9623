import type { SchemaAST } from "effect"

/**
 * For bodies whose fields decide what happens: a mistyped `prune` must not be silence. Bodies that only describe something
 * leave out what they do not know, as the ancestor did.
 */
export const strictBody: SchemaAST.ParseOptions = { errors: "all", onExcessProperty: "error" }
