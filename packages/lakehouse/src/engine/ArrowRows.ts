import * as Arrow from "apache-arrow"
import { arrowColumn, firstRows } from "./ArrowColumn.ts"
import type { ResultColumn, ResultEncoder } from "./ResultEncoder.ts"
import { chunkColumn } from "./VectorData.ts"

/** Keeps what the library writes, to be taken after every batch; its own queue cannot be emptied without waiting. */
class Taken extends Arrow.RecordBatchStreamWriter {
  private parts: Array<Uint8Array> = []

  protected override _write(chunk: ArrayBufferViewInput): this {
    const bytes = ArrayBuffer.isView(chunk)
      ? new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      : new Uint8Array(chunk as ArrayBuffer)
    this.parts.push(bytes)
    this._position += bytes.byteLength
    return this
  }

  take(): Uint8Array {
    const bytes = Buffer.concat(this.parts)
    this.parts = []
    return bytes
  }
}

type ArrayBufferViewInput = Parameters<Arrow.RecordBatchStreamWriter["_write"]>[0]

/** `a`, `a_1`, `a_2` of equal names, as DuckDB does for Parquet: readers of Arrow mix up equal ones. */
const distinct = (names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const taken = new Set<string>()
  return names.map((name) => {
    let free = name
    for (let number = 1; taken.has(free); number++) free = `${name}_${number}`
    taken.add(free)
    return free
  })
}

/** The Arrow IPC streaming format, one record batch for each chunk of DuckDB. */
export const arrowRows = (columns: ReadonlyArray<ResultColumn>): ResultEncoder => {
  const bound = columns.map(({ type }) => arrowColumn(type))
  const names = distinct(columns.map(({ name }) => name))
  const schema = new Arrow.Schema(bound.map(({ type }, index) => new Arrow.Field(names[index]!, type, true)))
  const row = new Arrow.Struct(schema.fields)
  const writer = new Taken({ autoDestroy: false })
  return {
    start: () => {
      writer.reset(undefined, schema)
      return writer.take()
    },
    chunk: (chunk, count) => {
      const rows = firstRows(count)
      const children = bound.map((column, index) => column.bind(chunkColumn(chunk.chunk, index), chunk.rowCount, rows))
      writer.write(new Arrow.RecordBatch(schema, Arrow.makeData({ type: row, length: count, nullCount: 0, children })))
      return writer.take()
    },
    end: () => {
      writer.finish()
      return writer.take()
    },
  }
}
