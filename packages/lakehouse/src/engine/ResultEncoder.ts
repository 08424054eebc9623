import type { DuckDBDataChunk, DuckDBType } from "@duckdb/node-api"
import { type JsonShape, jsonColumn } from "./JsonText.ts"
import { scalarText, type TextOf } from "./ScalarText.ts"
import { chunkColumn, type Vector, validityOf } from "./VectorData.ts"

export interface ResultColumn {
  readonly name: string
  readonly type: DuckDBType
}

/** Turns a result into bytes, chunk by chunk. `chunk` writes the first `count` rows of a chunk. */
export interface ResultEncoder {
  readonly start: () => Uint8Array
  readonly chunk: (chunk: DuckDBDataChunk, count: number) => Uint8Array
  readonly end: () => Uint8Array
}

/** The JSON array of the rows: `[{"a":1}]` or `[[1]]`. Of columns with the same name, `objects` keeps the last. */
export const jsonRows = (columns: ReadonlyArray<ResultColumn>, shape: JsonShape): ResultEncoder => {
  const kept =
    shape === "arrays"
      ? columns.map((column, index) => ({ ...column, index }))
      : [...new Map(columns.map((column, index) => [column.name, { ...column, index }])).values()]
  const [open, close] = shape === "arrays" ? ["[", "]"] : ["{", "}"]
  const cells = kept.map(({ name, type, index }, place) => ({
    index,
    bind: jsonColumn(type, shape),
    before: `${place === 0 ? open : ","}${shape === "arrays" ? "" : `${JSON.stringify(name)}:`}`,
  }))
  let isFirst = true
  return {
    start: () => Buffer.from("["),
    chunk: (chunk, count) => {
      const bound = cells.map(({ index, bind, before }) => ({
        before,
        textOf: bind(chunkColumn(chunk.chunk, index), chunk.rowCount),
      }))
      let text = ""
      for (let row = 0; row < count; row++) {
        text += isFirst ? "\n" : ",\n"
        isFirst = false
        for (const { before, textOf } of bound) text += before + textOf(row)
        text += close
      }
      return Buffer.from(text)
    },
    end: () => Buffer.from(isFirst ? "]" : "\n]"),
  }
}

/** The Arrow IPC stream. Its library costs more than the rest of a slot's code, so the first one who asks loads it. */
export const arrowRows = async (columns: ReadonlyArray<ResultColumn>): Promise<ResultEncoder> =>
  (await import("./ArrowRows.ts")).arrowRows(columns)

/**
 * RFC 4180 with a header line and `\n` line ends. NULL is empty, an empty text is `""`. Values look as in JSON (shape
 * `arrays`) without the quotes; nested ones are JSON text.
 */
export const csvRows = (columns: ReadonlyArray<ResultColumn>): ResultEncoder => {
  const cells = columns.map(({ type }) => csvColumn(type))
  return {
    start: () => Buffer.from(`${columns.map(({ name }) => csvText(name)).join(",")}\n`),
    chunk: (chunk, count) => {
      const bound = cells.map((bind, index) => bind(chunkColumn(chunk.chunk, index), chunk.rowCount))
      let text = ""
      for (let row = 0; row < count; row++) {
        for (let index = 0; index < bound.length; index++) text += (index === 0 ? "" : ",") + bound[index]!(row)
        text += "\n"
      }
      return Buffer.from(text)
    },
    end: () => Buffer.alloc(0),
  }
}

const csvText = (text: string): string =>
  text === "" || /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text

const csvColumn = (type: DuckDBType): ((vector: Vector, count: number) => TextOf) => {
  const scalar = scalarText(type)
  const bind = scalar?.bind ?? jsonColumn(type, "arrays")
  const mayNeedQuotes = scalar === null || scalar.kind === "text"
  return (vector, count) => {
    const isValid = validityOf(vector, count)
    const textOf = bind(vector, count)
    return (row) => {
      if (isValid !== null && !isValid(row)) return ""
      return mayNeedQuotes ? csvText(textOf(row)) : textOf(row)
    }
  }
}
