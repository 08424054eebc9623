import type { ResultFormat } from "@rat/domain"

/** What a query slot is asked to do. */
export interface QueryOrder {
  /** The person's text, names of databases already put right. */
  readonly sql: string
  /** Databases of the session; the first one is in use. */
  readonly databases: readonly [string, ...Array<string>]
  /** Our own SQL that makes the schemas and views in them. */
  readonly setup: string
  readonly format: ResultFormat
  /** Most rows of the answer. */
  readonly limit: number
}

/** What a query slot answers with, in this order: one head, any number of bodies or one file, one tail. */
export type QueryPiece =
  | { readonly kind: "head"; readonly columns: ReadonlyArray<{ readonly name: string; readonly type: string }> }
  | { readonly kind: "body"; readonly bytes: Uint8Array }
  /** The body is this file in the slot's `out/`. */
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "tail"; readonly rows: number; readonly truncated: boolean }
