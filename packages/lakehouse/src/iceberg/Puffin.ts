/*
 * Puffin files (Iceberg "Puffin file format"): magic, blobs, footer. The footer is magic, JSON, the JSON's length (4 bytes,
 * little-endian), flags (4 bytes; bit 0: the JSON is compressed, which nobody here writes) and magic again.
 */

const magic = Buffer.from("PFA1", "latin1")
/** The reserved field id of a row's position. */
const positionFieldId = 2_147_483_545
const maxFooterBytes = 64 * 2 ** 20

/** A deletion vector (see `DeletionVector`) that is to go into a Puffin file. */
export interface DeletionVectorBlob {
  readonly bytes: Uint8Array
  /** Location of the data file whose rows it deletes. */
  readonly referencedDataFile: string
  /** How many rows. */
  readonly cardinality: number
}

/** Where a blob lies; what manifests call `content_offset` and `content_size_in_bytes`. */
export interface BlobPlace {
  readonly contentOffset: number
  readonly contentSizeBytes: number
}

/** A Puffin file of deletion vectors, and the place of each in the order given. */
export const encodePuffin = (
  vectors: ReadonlyArray<DeletionVectorBlob>,
): { readonly bytes: Uint8Array; readonly places: ReadonlyArray<BlobPlace> } => {
  const places: Array<BlobPlace> = []
  let at = magic.length
  for (const { bytes } of vectors) {
    places.push({ contentOffset: at, contentSizeBytes: bytes.length })
    at += bytes.length
  }
  const footer = Buffer.from(
    JSON.stringify({
      blobs: vectors.map((vector, index) => ({
        type: "deletion-vector-v1",
        fields: [positionFieldId],
        // Known only when the snapshot is made: the spec wants -1 for deletion vectors.
        "snapshot-id": -1,
        "sequence-number": -1,
        offset: places[index]!.contentOffset,
        length: places[index]!.contentSizeBytes,
        properties: {
          "referenced-data-file": vector.referencedDataFile,
          cardinality: String(vector.cardinality),
        },
      })),
      properties: { "created-by": "rat" },
    }),
  )
  const end = Buffer.alloc(8)
  end.writeUInt32LE(footer.length, 0)
  return { bytes: Buffer.concat([magic, ...vectors.map(({ bytes }) => bytes), magic, footer, end, magic]), places }
}

/** The deletion vectors that a Puffin file lists. Throws an `Error` that says what is wrong with a file that is none. */
export const decodePuffin = (
  file: Uint8Array,
): ReadonlyArray<BlobPlace & { readonly referencedDataFile: string; readonly cardinality: number | null }> => {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  const isMagic = (at: number) => at >= 0 && bytes.subarray(at, at + 4).equals(magic)
  if (!isMagic(0) || !isMagic(bytes.length - 4) || bytes.length < 20) throw new Error("it is no whole Puffin file")
  const size = bytes.readUInt32LE(bytes.length - 12)
  if ((bytes.readUInt32LE(bytes.length - 8) & 1) !== 0) throw new Error("its footer is compressed, which is not read")
  const start = bytes.length - 12 - size
  if (size > maxFooterBytes || !isMagic(start - 4)) throw new Error("its footer is damaged")
  const { blobs } = JSON.parse(bytes.subarray(start, start + size).toString("utf8")) as {
    readonly blobs: ReadonlyArray<{
      readonly type: string
      readonly offset: number
      readonly length: number
      readonly properties?: Readonly<Record<string, string>>
    }>
  }
  return blobs
    .filter(({ type }) => type === "deletion-vector-v1")
    .map(({ length, offset, properties }) => ({
      contentOffset: offset,
      contentSizeBytes: length,
      referencedDataFile: properties?.["referenced-data-file"] ?? "",
      cardinality: properties?.cardinality === undefined ? null : Number(properties.cardinality),
    }))
}
