import duckdb from "@duckdb/node-bindings"

/**
 * A column's values in one chunk as DuckDB lays them out in memory, without a JavaScript object for each value. Valid
 * only as long as the chunk is.
 */
export type Vector = duckdb.Vector

/** Whether the value of a row is there; a closure that always says yes when the vector has no NULL. */
export const validityOf = (vector: Vector, count: number): ((row: number) => boolean) | null => {
  const bits: Uint8Array | null = duckdb.vector_get_validity(vector, Math.ceil(count / 64) * 8)
  return bits === null ? null : (row) => (bits[row >> 3]! & (1 << (row & 7))) !== 0
}

export const bytesOf = (vector: Vector, byteCount: number): Uint8Array => duckdb.vector_get_data(vector, byteCount)

type View<A> = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => A

/** The values as a typed array, `perRow` elements a row. */
export const viewOf = <A>(
  View: View<A> & { readonly BYTES_PER_ELEMENT: number },
  vector: Vector,
  count: number,
  perRow = 1,
): A => {
  const data = bytesOf(vector, count * perRow * View.BYTES_PER_ELEMENT)
  return new View(data.buffer, data.byteOffset, count * perRow)
}

/** Bytes of the string or blob of a row. Up to 12 bytes stand in the 16-byte entry itself, longer ones elsewhere. */
export const stringBytes = (vector: Vector, count: number): ((row: number) => Buffer) => {
  const data = bytesOf(vector, count * 16)
  const lengths = new Uint32Array(data.buffer, data.byteOffset, count * 4)
  const buffer = data.buffer as ArrayBuffer
  return (row) => {
    const length = lengths[row * 4]!
    if (length <= 12) return Buffer.from(buffer, data.byteOffset + row * 16 + 4, length)
    const bytes = duckdb.get_data_from_pointer(buffer, data.byteOffset + row * 16 + 8, length)
    return Buffer.from(bytes.buffer, bytes.byteOffset, length)
  }
}

/** Offset and length of each row's list in the child vector. */
export interface ListData {
  readonly child: Vector
  readonly childCount: number
  readonly offset: (row: number) => number
  readonly length: (row: number) => number
}

export const listData = (vector: Vector, count: number): ListData => {
  // Two 64-bit numbers a row; a chunk's child never has 2^32 elements, so the low halves say it all.
  const entries = viewOf(Uint32Array, vector, count, 4)
  return {
    child: duckdb.list_vector_get_child(vector),
    childCount: duckdb.list_vector_get_size(vector),
    offset: (row) => entries[row * 4]!,
    length: (row) => entries[row * 4 + 2]!,
  }
}

export const structChild = (vector: Vector, index: number): Vector => duckdb.struct_vector_get_child(vector, index)
export const arrayChild = (vector: Vector): Vector => duckdb.array_vector_get_child(vector)
export const chunkColumn = (chunk: duckdb.DataChunk, index: number): Vector =>
  duckdb.data_chunk_get_vector(chunk, index)
