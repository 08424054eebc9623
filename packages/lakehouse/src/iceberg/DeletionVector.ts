import { crc32 } from "node:zlib"

/*
 * Deletion vectors as blobs of type `deletion-vector-v1` (Puffin spec, "Blob types"; Roaring bitmaps, "Portable serialization
 * format", 64-bit extension). Layout: length of what follows without the checksum (4 bytes, big-endian), magic, number of 32-bit
 * bitmaps (8 bytes, little-endian), for each its upper 32 bits and the bitmap, CRC-32 of magic and bitmaps (big-endian).
 */

const magic = 0x6439d3d1 // D1 D3 39 64, read little-endian
const plainCookie = 12_346
const runCookie = 12_347
/** Bitmaps with runs have offsets of their containers only from this many containers on. */
const offsetThreshold = 4
const arrayLimit = 4096
const bitmapBytes = 8192
/** A JavaScript number is exact up to here; no file has as many rows. */
const highestKey = 2 ** 21 - 1

/** One container: the sorted low 16 bits of positions that share the bits above, and the form that takes the fewest bytes. */
interface Container {
  readonly key: number
  readonly from: number
  readonly to: number
  readonly runs: number
  readonly form: "array" | "bitmap" | "runs"
  readonly sizeBytes: number
}

const containersOf = (positions: Float64Array, from: number, to: number): ReadonlyArray<Container> => {
  const containers: Array<Container> = []
  for (let start = from; start < to; ) {
    const block = Math.floor(positions[start]! / 65536)
    let end = start
    let runs = 0
    for (; end < to && Math.floor(positions[end]! / 65536) === block; end++) {
      if (end === start || positions[end]! !== positions[end - 1]! + 1) runs++
    }
    const count = end - start
    const plain = count <= arrayLimit ? 2 * count : bitmapBytes
    const asRuns = 2 + 4 * runs
    containers.push({
      key: block % 65536,
      from: start,
      to: end,
      runs,
      form: asRuns < plain ? "runs" : count <= arrayLimit ? "array" : "bitmap",
      sizeBytes: Math.min(plain, asRuns),
    })
    start = end
  }
  return containers
}

const encodeContainer = (view: DataView, start: number, positions: Float64Array, container: Container): void => {
  let at = start
  const low = (index: number) => positions[index]! % 65536
  if (container.form === "array") {
    for (let index = container.from; index < container.to; index++, at += 2) view.setUint16(at, low(index), true)
  } else if (container.form === "bitmap") {
    for (let index = container.from; index < container.to; index++) {
      const byte = at + (low(index) >> 3)
      view.setUint8(byte, view.getUint8(byte) | (1 << (low(index) & 7)))
    }
  } else {
    view.setUint16(at, container.runs, true)
    at += 2
    for (let index = container.from; index < container.to; at += 4) {
      let end = index + 1
      while (end < container.to && positions[end]! === positions[end - 1]! + 1) end++
      view.setUint16(at, low(index), true)
      view.setUint16(at + 2, end - index - 1, true)
      index = end
    }
  }
}

/** A 32-bit bitmap: its size, and how it is written at an offset. */
const bitmapOf = (positions: Float64Array, from: number, to: number) => {
  const containers = containersOf(positions, from, to)
  const count = containers.length
  const hasRuns = containers.some(({ form }) => form === "runs")
  const hasOffsets = !hasRuns || count >= offsetThreshold
  const headerBytes = (hasRuns ? 4 + Math.ceil(count / 8) : 8) + 4 * count + (hasOffsets ? 4 * count : 0)
  const sizeBytes = containers.reduce((size, container) => size + container.sizeBytes, headerBytes)
  const write = (view: DataView, start: number): void => {
    let at = start
    if (hasRuns) {
      view.setUint32(at, ((count - 1) << 16) | runCookie, true)
      at += 4
      for (const [index, { form }] of containers.entries()) {
        if (form === "runs") view.setUint8(at + (index >> 3), view.getUint8(at + (index >> 3)) | (1 << (index & 7)))
      }
      at += Math.ceil(count / 8)
    } else {
      view.setUint32(at, plainCookie, true)
      view.setUint32(at + 4, count, true)
      at += 8
    }
    for (const container of containers) {
      view.setUint16(at, container.key, true)
      view.setUint16(at + 2, container.to - container.from - 1, true)
      at += 4
    }
    let content = start + headerBytes
    for (const container of containers) {
      if (hasOffsets) {
        view.setUint32(at, content - start, true)
        at += 4
      }
      encodeContainer(view, content, positions, container)
      content += container.sizeBytes
    }
  }
  return { sizeBytes, write }
}

/** The blob of a deletion vector. `positions` are 0-based rows of the data file, ascending, each once. */
export const encodeDeletionVector = (positions: Float64Array): Uint8Array => {
  const bitmaps: Array<{ readonly key: number; readonly bitmap: ReturnType<typeof bitmapOf> }> = []
  for (let from = 0; from < positions.length; ) {
    const key = Math.floor(positions[from]! / 2 ** 32)
    let to = from
    while (to < positions.length && positions[to]! < (key + 1) * 2 ** 32) to++
    bitmaps.push({ key, bitmap: bitmapOf(positions, from, to) })
    from = to
  }
  const length = bitmaps.reduce((size, { bitmap }) => size + 4 + bitmap.sizeBytes, 4 + 8)
  const bytes = new Uint8Array(4 + length + 4)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, length)
  view.setUint32(4, magic, true)
  view.setBigUint64(8, BigInt(bitmaps.length), true)
  let at = 16
  for (const { key, bitmap } of bitmaps) {
    view.setUint32(at, key, true)
    bitmap.write(view, at + 4)
    at += 4 + bitmap.sizeBytes
  }
  view.setUint32(4 + length, crc32(bytes.subarray(4, 4 + length)))
  return bytes
}

/** Positions of a blob, ascending. Throws an `Error` that says what is wrong with bytes that are none. */
export const decodeDeletionVector = (blob: Uint8Array): Float64Array => {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength)
  if (blob.length < 20) throw new Error(`a deletion vector of ${blob.length} bytes is too short`)
  const length = view.getUint32(0)
  if (length !== blob.length - 8) throw new Error(`its length says ${length}, but it has ${blob.length - 8} bytes`)
  if (view.getUint32(4, true) !== magic) throw new Error("it does not start like a deletion vector")
  if (view.getUint32(4 + length) !== crc32(blob.subarray(4, 4 + length))) throw new Error("its checksum is wrong")
  const count = Number(view.getBigUint64(8, true))
  const pieces: Array<Float64Array> = []
  let at = 16
  let before = -1
  for (let index = 0; index < count; index++) {
    const key = view.getUint32(at, true)
    if (key <= before || key > highestKey) throw new Error(`its bitmap ${index} has the key ${key}`)
    before = key
    at = decodeBitmap(view, at + 4, key * 2 ** 32, pieces)
  }
  if (at !== 4 + length) throw new Error(`${4 + length - at} bytes are left at its end`)
  const positions = new Float64Array(pieces.reduce((size, piece) => size + piece.length, 0))
  let filled = 0
  for (const piece of pieces) {
    positions.set(piece, filled)
    filled += piece.length
  }
  return positions
}

/** Adds the positions of one 32-bit bitmap; answers with the offset behind it. */
const decodeBitmap = (view: DataView, start: number, base: number, pieces: Array<Float64Array>): number => {
  let at = start
  const cookie = view.getUint32(at, true)
  at += 4
  const hasRuns = (cookie & 0xffff) === runCookie
  if (!hasRuns && cookie !== plainCookie) throw new Error(`a bitmap has the unknown cookie ${cookie}`)
  const count = hasRuns ? (cookie >>> 16) + 1 : view.getUint32(at, true)
  if (count > 65536) throw new Error(`a bitmap has ${count} containers`)
  const runFlags = at
  at += hasRuns ? Math.ceil(count / 8) : 4
  const headers = at
  at += 4 * count
  if (!hasRuns || count >= offsetThreshold) at += 4 * count
  for (let index = 0; index < count; index++) {
    const first = base + view.getUint16(headers + 4 * index, true) * 65536
    const size = view.getUint16(headers + 4 * index + 2, true) + 1
    const positions = new Float64Array(size)
    if (hasRuns && (view.getUint8(runFlags + (index >> 3)) & (1 << (index & 7))) !== 0) {
      const runs = view.getUint16(at, true)
      at += 2
      let filled = 0
      for (let run = 0; run < runs; run++, at += 4) {
        const from = view.getUint16(at, true)
        const more = view.getUint16(at + 2, true)
        if (filled + more >= size) throw new Error("a container has more positions than it says")
        for (let offset = 0; offset <= more; offset++) positions[filled++] = first + from + offset
      }
      if (filled !== size) throw new Error("a container has fewer positions than it says")
    } else if (size <= arrayLimit) {
      for (let item = 0; item < size; item++, at += 2) positions[item] = first + view.getUint16(at, true)
    } else {
      let filled = 0
      for (let byte = 0; byte < bitmapBytes; byte++) {
        const bits = view.getUint8(at + byte)
        if (bits === 0) continue
        for (let bit = 0; bit < 8; bit++) if ((bits & (1 << bit)) !== 0) positions[filled++] = first + byte * 8 + bit
      }
      if (filled !== size) throw new Error("a container has another number of positions than it says")
      at += bitmapBytes
    }
    pieces.push(positions)
  }
  return at
}
