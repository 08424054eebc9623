/** Something wrong in one file, at its place. The file's path is added by whoever knows it. */
export interface Issue {
  /** 1-based; absent when the whole file is meant. */
  readonly line?: number
  /** 1-based, in UTF-16 units. */
  readonly column?: number
  /** Stable code such as `config.unknown_key`. */
  readonly code: string
  /** What is wrong, and what to do. */
  readonly message: string
}

/** 1-based line and column of an offset into a text. */
export const placeOf = (text: string, offset: number): { readonly line: number; readonly column: number } => {
  const before = text.slice(0, offset)
  const start = before.lastIndexOf("\n") + 1
  let line = 1
  for (let at = before.indexOf("\n"); at !== -1; at = before.indexOf("\n", at + 1)) line++
  return { line, column: offset - start + 1 }
}

/** One line of a text (1-based) without its line end; empty when there is no such line. */
export const lineOf = (text: string, line: number): string => text.split("\n")[line - 1]?.replace(/\r$/, "") ?? ""
