import * as fs from "node:fs/promises"
import { crc32 } from "node:zlib"

const chunkBytes = 1 << 20

/** Eight hexadecimal digits, as they travel in the metadata of objects. */
export const crcOfBytes = (bytes: Uint8Array): string => crc32(bytes).toString(16).padStart(8, "0")

/** Reads the file once, a chunk at a time. */
export const crcOfFile = async (path: string): Promise<{ readonly sizeBytes: number; readonly crc32: string }> => {
  const handle = await fs.open(path, "r")
  try {
    const chunk = Buffer.allocUnsafe(chunkBytes)
    let sum = 0
    let sizeBytes = 0
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, chunkBytes, sizeBytes)
      if (bytesRead === 0) return { sizeBytes, crc32: sum.toString(16).padStart(8, "0") }
      sum = crc32(chunk.subarray(0, bytesRead), sum)
      sizeBytes += bytesRead
    }
  } finally {
    await handle.close()
  }
}
