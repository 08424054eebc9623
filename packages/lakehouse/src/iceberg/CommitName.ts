import { createHash } from "node:crypto"
import { type ContentFile, fileKey } from "./DataFile.ts"
import type { TableChange } from "./TableChange.ts"

/** Names and ids of a commit. They depend on the change alone: a repeated commit of a run writes the same files again. */
export interface CommitName {
  /** Begins the names of all its files but the metadata file. */
  readonly name: string
  readonly folder: string
  readonly metadataLocation: string
  readonly snapshotId: bigint
  /** Of the table, when the commit makes it. */
  readonly uuid: string
}

export const commitName = (change: TableChange): CommitName => {
  const digest = digestOf(change)
  const name = `${change.runId}-${digest.toString("hex").slice(0, 8)}`
  const folder = `${change.location}/metadata`
  return {
    name,
    folder,
    metadataLocation: `${folder}/${nextVersion(change.base?.metadataLocation)}-${name}.metadata.json`,
    // 15 digits: foreign tools that read ids into doubles stay exact, and our own JSON needs no slow path.
    snapshotId: (digest.readBigUInt64BE(8) % 999_999_999_999_999n) + 1n,
    uuid: uuidOf(digest),
  }
}

/** Everything that makes this commit different from another one of the same run. */
const digestOf = (change: TableChange): Buffer => {
  const list = (keys: ReadonlySet<string> | "all") => (keys === "all" ? keys : [...keys].sort())
  const { snapshot } = change
  const files: ReadonlyArray<ContentFile> = snapshot === null ? [] : [...snapshot.added, ...snapshot.addedDeletes]
  const hash = createHash("sha256").update(
    JSON.stringify(
      [
        change.base?.metadataLocation ?? null,
        change.location,
        change.runId,
        change.updates,
        snapshot === null
          ? null
          : [snapshot.operation, list(snapshot.removed), list(snapshot.removedDeletes), snapshot.summary ?? null],
        files.map((file) => [fileKey(file), file.recordCount, file.fileSizeBytes, file.specId, file.partition]),
      ],
      (_key, value) => (typeof value === "bigint" ? `${value}n` : value),
    ),
  )
  for (const file of files) {
    for (const bounds of [file.lowerBounds, file.upperBounds]) for (const bound of bounds.values()) hash.update(bound)
  }
  return hash.digest()
}

/** `00012-<anything>` and `v12.metadata.json` are followed by 00013. */
export const nextVersion = (metadataLocation: string | undefined): string => {
  const version = /\/v?(\d+)[^/]*$/.exec(metadataLocation ?? "")
  return String(version === null ? 0 : Number(version[1]) + 1).padStart(5, "0")
}

/** A version 8 UUID (RFC 9562: custom) from the digest: the same for a repeated commit, unlike a random one. */
const uuidOf = (digest: Buffer): string => {
  const bytes = Buffer.from(digest.subarray(16, 32))
  bytes[6] = (bytes[6]! & 0x0f) | 0x80
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
}
