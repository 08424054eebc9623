import { icebergManifests, icebergRead } from "icebird"
import type { ClusterStore } from "../ClusterStore.ts"

/** Tables as a reader sees them that shares no code with the system. */
export interface Lake {
  readonly rows: (metadataLocation: string) => Promise<ReadonlyArray<Readonly<Record<string, unknown>>>>
  /** Files that a snapshot of the table needs and that are missing or of another size. */
  readonly missing: (metadataLocation: string) => Promise<ReadonlyArray<string>>
  readonly close: () => void
}

/** Snapshots of one table that are looked at: all of a young one, the newest and some of the others of an old one. */
const snapshotsLimit = 40

/** What icebird makes of `s3://bucket/key`. */
const locationOf = (url: string) => url.replace(/^https:\/\/([^./]+)\.s3\.amazonaws\.com\//, "s3://$1/")

/** icebird fetches by URL; those of the store are answered from there, ranges included. Close it: it replaces `fetch`. */
export const openLake = (store: ClusterStore): Lake => {
  const original = globalThis.fetch
  // Objects never change.
  const kept = new Map<string, Promise<Buffer | undefined>>()
  const read = (location: string) => {
    const found = kept.get(location) ?? store.read(location)
    kept.set(location, found)
    return found
  }
  globalThis.fetch = async (input, init) => {
    const location = locationOf(String(input))
    if (!/^(file|s3):/.test(location)) return original(input, init)
    const bytes = await read(location)
    if (bytes === undefined) throw new Error(`there is no object ${location}`)
    const range = /^bytes=(\d+)-(\d*)$/.exec(new Headers(init?.headers).get("range") ?? "")
    if (range === null) return new Response(new Uint8Array(bytes))
    const part = bytes.subarray(Number(range[1]), range[2] === "" ? undefined : Number(range[2]) + 1)
    return new Response(new Uint8Array(part), { status: 206 })
  }
  const metadataOf = async (location: string) => {
    const bytes = await read(location)
    if (bytes === undefined) throw new Error(`there is no metadata file ${location}`)
    return JSON.parse(bytes.toString())
  }

  return {
    rows: async (location) => {
      const metadata = await metadataOf(location)
      const manifests = await icebergManifests(metadata)
      const isEmpty = manifests.every(({ entries }) =>
        entries.every(({ status, data_file }) => status === 2 || data_file.content),
      )
      return isEmpty ? [] : icebergRead({ tableUrl: metadata.location, metadata })
    },
    missing: async (location) => {
      const metadata = await metadataOf(location)
      const snapshots: ReadonlyArray<{ readonly "snapshot-id": number }> = metadata.snapshots ?? []
      const step = Math.max(1, Math.ceil(snapshots.length / snapshotsLimit))
      const sizes = new Map<string, number>()
      for (const snapshot of snapshots.filter((_, index) => (snapshots.length - 1 - index) % step === 0)) {
        const manifests = await icebergManifests({ ...metadata, "current-snapshot-id": snapshot["snapshot-id"] })
        for (const { entries } of manifests) {
          for (const { data_file, status } of entries) {
            if (status !== 2) sizes.set(data_file.file_path, Number(data_file.file_size_in_bytes))
          }
        }
      }
      const problems: Array<string> = []
      for (const [path, size] of sizes) {
        const bytes = await read(path)
        if (bytes?.length !== size) problems.push(`${path} has ${bytes?.length ?? "no"} bytes instead of ${size}`)
      }
      return problems
    },
    close: () => {
      globalThis.fetch = original
    },
  }
}
