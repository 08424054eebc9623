import * as fs from "node:fs/promises"
import { Effect } from "effect"
import { icebergRead } from "icebird"
import { pathOfLocation } from "../write/TestTable.ts"

/**
 * A table's rows as icebird reads them: an Iceberg reader that shares no code with ours. Test support only. It fetches by
 * URL, and Node's fetch refuses `file:`, so those are answered from the disk, ranges included.
 */
export const icebirdRows = (metadataLocation: string): Effect.Effect<ReadonlyArray<Record<string, unknown>>> =>
  Effect.promise(async () => {
    const original = globalThis.fetch
    globalThis.fetch = async (input, init) => {
      const url = String(input)
      if (!url.startsWith("file:")) return original(input, init)
      const bytes = await fs.readFile(pathOfLocation(url))
      const range = /^bytes=(\d+)-(\d*)$/.exec(new Headers(init?.headers).get("range") ?? "")
      if (range === null) return new Response(bytes)
      const part = bytes.subarray(Number(range[1]), range[2] === "" ? undefined : Number(range[2]) + 1)
      return new Response(part, { status: 206 })
    }
    try {
      const metadata = JSON.parse(await fs.readFile(pathOfLocation(metadataLocation), "utf8"))
      return await icebergRead({ tableUrl: metadata.location, metadata })
    } finally {
      globalThis.fetch = original
    }
  })
