/** A column, table or field name as a quoted SQL identifier. */
export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** A string as a SQL literal. */
export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`

/**
 * A path for `read_parquet`, as a SQL literal, that stands for exactly this file: `*`, `?` and `[` in names of folders
 * and files are no pattern. DuckDB takes a path literally when such a file exists, but falls back to the pattern when
 * it does not, which would read other files. (A backslash cannot be escaped beside a pattern in 1.5.5, so such a path
 * stays literal.)
 */
export const quotePath = (path: string): string =>
  quoteText(path.includes("\\") ? path : path.replace(/[*?[]/g, (character) => `[${character}]`))
