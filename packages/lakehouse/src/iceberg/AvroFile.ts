import { createHash } from "node:crypto"
import { deflateRawSync, inflateRawSync, zstdDecompressSync } from "node:zlib"
import avro from "avsc"
import { AvroCursor } from "./AvroCursor.ts"
import { avroReader } from "./AvroReader.ts"

/**
 * Avro object container files (Avro specification, "Object Container Files") in memory: manifests and manifest lists.
 * The same records give the same bytes. 64-bit integers are bigints.
 */
export interface AvroFile {
  /** The writer's schema as it stands in the header; it carries Iceberg's `field-id`s. */
  readonly schema: AvroRecordSchema
  /** Key metadata of the header as text, without Avro's own keys. */
  readonly metadata: Readonly<Record<string, string>>
  readonly records: ReadonlyArray<Readonly<Record<string, unknown>>>
}

export interface AvroRecordSchema {
  readonly type: "record"
  readonly name: string
  readonly fields: ReadonlyArray<AvroFieldSchema>
}
export interface AvroFieldSchema {
  readonly name: string
  readonly type: unknown
  readonly "field-id"?: number
  readonly default?: unknown
  readonly doc?: string
}

const magic = Buffer.from("Obj\u0001", "latin1")
/** So many records share a block; a block is what a reader has to hold. */
const blockRecords = 4096
/** Compressing tells on disk only above this; below it is time wasted. */
const deflateBytes = 512

// avsc's own long is a number and refuses what exceeds 2^53.
const long = avro.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const buffer = Buffer.alloc(8)
    buffer.writeBigInt64LE(value)
    return buffer
  },
  fromJSON: BigInt,
  toJSON: String,
  isValid: (value: unknown) => typeof value === "bigint",
  compare: (left: bigint, right: bigint) => (left < right ? -1 : left > right ? 1 : 0),
})

const header = avro.Type.forSchema({
  type: "record",
  name: "Header",
  fields: [
    { name: "magic", type: { type: "fixed", name: "Magic", size: 4 } },
    { name: "meta", type: { type: "map", values: "bytes" } },
    { name: "sync", type: { type: "fixed", name: "Sync", size: 16 } },
  ],
})
const blockLong = avro.Type.forSchema("long")

/** Schemas are compiled once: files of one writer share a few. */
const compiled = <A>(compile: (schema: unknown) => A): ((schemaText: string) => A) => {
  const known = new Map<string, A>()
  return (schemaText) => {
    let value = known.get(schemaText)
    if (value === undefined) {
      value = compile(JSON.parse(schemaText))
      if (known.size >= 64) known.delete(known.keys().next().value!)
      known.set(schemaText, value)
    }
    return value
  }
}
/** The registry knows `"long"` only as a bare name, not `{"type": "long", "logicalType": …}`. */
const longWithAttributes = (schema: unknown) =>
  typeof schema === "object" && (schema as { readonly type?: unknown } | null)?.type === "long" ? long : undefined
const writerOf = compiled((schema) =>
  avro.Type.forSchema(schema as avro.Schema, { registry: { long }, wrapUnions: "never", typeHook: longWithAttributes }),
)
const readerOf = compiled(avroReader)

export const writeAvroFile = (file: AvroFile): Buffer => {
  const schemaText = JSON.stringify(file.schema)
  const type = writerOf(schemaText)
  const blocks: Array<{ readonly count: number; readonly data: Buffer }> = []
  for (let start = 0; start < file.records.length; start += blockRecords) {
    const records = file.records.slice(start, start + blockRecords)
    blocks.push({ count: records.length, data: Buffer.concat(records.map((record) => type.toBuffer(record))) })
  }
  const isDeflated = blocks.some((block) => block.data.length > deflateBytes)
  const meta: Record<string, Buffer> = {
    "avro.schema": Buffer.from(schemaText),
    "avro.codec": Buffer.from(isDeflated ? "deflate" : "null"),
  }
  for (const [key, value] of Object.entries(file.metadata)) meta[key] = Buffer.from(value)
  const hash = createHash("sha256").update(JSON.stringify(file.metadata))
  for (const block of blocks) hash.update(block.data)
  const sync = hash.digest().subarray(0, 16)
  return Buffer.concat([
    header.toBuffer({ magic, meta, sync }),
    ...blocks.flatMap((block) => {
      const data = isDeflated ? deflateRawSync(block.data) : block.data
      return [blockLong.toBuffer(block.count), blockLong.toBuffer(data.length), data, sync]
    }),
  ])
}

/** A manifest of a million files has some 300 MB; what inflates to more is no manifest. */
const maxOutputLength = 1024 * 1024 * 1024

const decompress = (codec: string, data: Uint8Array): Uint8Array => {
  switch (codec) {
    case "null":
      return data
    case "deflate":
      return inflateRawSync(data, { maxOutputLength })
    case "zstandard":
      return zstdDecompressSync(data, { maxOutputLength })
    default:
      throw new Error(`its blocks are compressed with ${codec}, which is not supported`)
  }
}

/**
 * Values of a block stay views of it for as long as somebody keeps them, and what is decompressed lies in the first bytes of
 * 64 KiB: a bound of eight bytes in a cache must not hold all that.
 */
const withoutSlack = (block: Uint8Array): Uint8Array =>
  block.buffer.byteLength > block.byteLength * 2 ? new Uint8Array(block) : block

const readMeta = avroReader({ type: "map", values: "bytes" })

/** Throws an Error that says what is wrong with the bytes. */
export const readAvroFile = (bytes: Uint8Array): AvroFile => {
  const file = new AvroCursor(bytes)
  if (!magic.equals(file.take(Math.min(4, bytes.length)))) throw new Error("it does not begin like an Avro file")
  const meta = readMeta(file) as ReadonlyMap<string, Uint8Array>
  const sync = Buffer.from(file.take(16))
  const text = (key: string) => {
    const value = meta.get(key)
    return value === undefined ? undefined : Buffer.from(value).toString("utf8")
  }
  const schemaText = text("avro.schema")
  if (schemaText === undefined) throw new Error("its header has no schema")
  const codec = text("avro.codec") ?? "null"
  const read = readerOf(schemaText)
  const records: Array<Record<string, unknown>> = []
  while (!file.isAtEnd) {
    const count = file.integer()
    const block = new AvroCursor(withoutSlack(decompress(codec, file.take(file.integer()))))
    if (!sync.equals(file.take(16))) throw new Error("the marker behind a block is not the file's")
    if (count < 0 || count > block.bytes.length) throw new Error("a block holds less than it says")
    for (let index = 0; index < count; index++) records.push(read(block) as Record<string, unknown>)
    if (!block.isAtEnd) throw new Error("a block holds more than it says")
  }
  const metadata = Array.from(meta.keys(), (key) => [key, text(key)!] as const)
  return {
    schema: JSON.parse(schemaText),
    metadata: Object.fromEntries(metadata.filter(([key]) => !key.startsWith("avro."))),
    records,
  }
}

/**
 * Value of a record's field by its field id: writers are free in names (older ones say `added_data_files_count`), the
 * ids are what the Iceberg spec fixes. Undefined when the writer has no such field.
 */
export const fieldReader = (schema: AvroRecordSchema): ((record: object, fieldId: number) => unknown) => {
  const names = new Map(schema.fields.map((field) => [field["field-id"], field.name]))
  return (record, fieldId) => {
    const name = names.get(fieldId)
    return name === undefined ? undefined : (record as Record<string, unknown>)[name]
  }
}
