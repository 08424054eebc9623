/**
 * Decodes Avro binary data (Avro specification, "Binary encoding") by the writer's schema: records as objects, longs as
 * bigint, bytes as Uint8Array, enums as text, maps as Map. Every read is checked against the end of the data, so that a
 * damaged file ends in an Error and not in endless loops or huge arrays (avsc, which writes our files, looks only
 * at the very end whether it read too far).
 */
export type AvroRead = (cursor: AvroCursor) => unknown

export class AvroCursor {
  readonly bytes: Uint8Array
  offset: number
  private readonly view: DataView

  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes
    this.offset = offset
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.offset >= this.bytes.length
  }

  /** The next bytes, without a copy. */
  take(length: number): Uint8Array {
    if (length < 0) throw new Error("a length in it is negative")
    const end = this.offset + length
    if (end > this.bytes.length) throw truncated()
    const part = this.bytes.subarray(this.offset, end)
    this.offset = end
    return part
  }

  /** A zig-zag variable-length integer of at most 64 bits. */
  long(): bigint {
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte()
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) return BigInt((low >>> 1) ^ -(low & 1))
    }
    let value = BigInt(low)
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.byte()
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n))
    }
    throw new Error("an integer in it is longer than 64 bits")
  }

  /** A long that must be a safe JavaScript integer: lengths, counts and branches. */
  integer(): number {
    const value = this.long()
    if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER) throw new Error("a length in it is absurd")
    return Number(value)
  }

  float(): number {
    const at = this.offset
    this.take(4)
    return this.view.getFloat32(at, true)
  }

  double(): number {
    const at = this.offset
    this.take(8)
    return this.view.getFloat64(at, true)
  }

  byte(): number {
    const byte = this.bytes[this.offset]
    if (byte === undefined) throw truncated()
    this.offset++
    return byte
  }

  text(): string {
    const part = this.take(this.integer())
    return Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("utf8")
  }
}

const truncated = () => new Error("it ends in the middle (truncated)")

const primitives: { readonly [name: string]: AvroRead } = {
  null: () => null,
  boolean: (cursor) => cursor.byte() !== 0,
  int: (cursor) => cursor.integer(),
  long: (cursor) => cursor.long(),
  float: (cursor) => cursor.float(),
  double: (cursor) => cursor.double(),
  bytes: (cursor) => cursor.take(cursor.integer()),
  string: (cursor) => cursor.text(),
}

/** Arrays and maps come in blocks; a negative count has the block's size in bytes behind it. */
const readBlocks = (cursor: AvroCursor, item: () => void): void => {
  for (;;) {
    let count = cursor.integer()
    if (count === 0) return
    if (count < 0) {
      count = -count
      cursor.integer()
    }
    // Items of Iceberg's arrays take a byte at least each; more than there are bytes cannot be true.
    if (count > cursor.bytes.length - cursor.offset) throw truncated()
    for (let index = 0; index < count; index++) item()
  }
}

/** Throws an Error when the schema (parsed JSON) is none. */
export const avroReader = (schema: unknown): AvroRead => compile(schema, new Map())

const compile = (schema: unknown, named: Map<string, AvroRead>): AvroRead => {
  if (typeof schema === "string") {
    const read = primitives[schema] ?? named.get(schema)
    if (read === undefined) throw new Error(`its schema uses the unknown type ${schema}`)
    return read
  }
  if (Array.isArray(schema)) {
    const branches = schema.map((branch) => compile(branch, named))
    return (cursor) => {
      const branch = branches[cursor.integer()]
      if (branch === undefined) throw new Error("a union in it has no such branch")
      return branch(cursor)
    }
  }
  const { fields, items, name, namespace, size, symbols, type, values } = (schema ?? {}) as Record<string, unknown>
  const register = (read: AvroRead): AvroRead => {
    named.set(String(name), read)
    if (namespace !== undefined) named.set(`${namespace}.${name}`, read)
    return read
  }
  switch (type) {
    case "record": {
      const readers: Array<readonly [string, AvroRead]> = []
      const read = register((cursor) => {
        const record: Record<string, unknown> = {}
        for (const [field, readField] of readers) record[field] = readField(cursor)
        return record
      })
      for (const field of fields as ReadonlyArray<{ readonly name: string; readonly type: unknown }>) {
        readers.push([field.name, compile(field.type, named)])
      }
      return read
    }
    case "array": {
      const readItem = compile(items, named)
      return (cursor) => {
        const array: Array<unknown> = []
        readBlocks(cursor, () => array.push(readItem(cursor)))
        return array
      }
    }
    case "map": {
      const readValue = compile(values, named)
      return (cursor) => {
        const map = new Map<string, unknown>()
        readBlocks(cursor, () => map.set(cursor.text(), readValue(cursor)))
        return map
      }
    }
    case "fixed":
      return register((cursor) => cursor.take(Number(size)))
    case "enum":
      return register((cursor) => (symbols as ReadonlyArray<string>)[cursor.integer()])
    default:
      return compile(type, named) // a primitive with attributes ({"type": "int", "logicalType": "date"})
  }
}
