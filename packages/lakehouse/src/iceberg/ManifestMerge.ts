import type { ManifestFile } from "./ManifestList.ts"
import type { TableMetadata } from "./TableMetadata.ts"

const defaultMinCount = 100
const defaultTargetBytes = 8 * 1024 * 1024

const number = (text: string | undefined, fallback: number) => {
  const value = Number(text)
  return text !== undefined && Number.isFinite(value) && value > 0 ? value : fallback
}

/**
 * Manifests that a commit should write as one, so that their number stays bounded (Iceberg's `commit.manifest-merge.enabled`,
 * `commit.manifest.min-count-to-merge`, `commit.manifest.target-size-bytes`). Of one content and partition spec each; nothing
 * while there are few.
 */
export const mergeGroups = (
  lines: ReadonlyArray<ManifestFile>,
  properties: TableMetadata["properties"],
): ReadonlyArray<ReadonlyArray<ManifestFile>> => {
  if (properties["commit.manifest-merge.enabled"] === "false") return []
  const minCount = Math.max(2, number(properties["commit.manifest.min-count-to-merge"], defaultMinCount))
  const target = number(properties["commit.manifest.target-size-bytes"], defaultTargetBytes)
  const groups: Array<ReadonlyArray<ManifestFile>> = []
  const small = lines.filter((line) => line.lengthBytes < target)
  for (const alike of Map.groupBy(small, (line) => `${line.content} ${line.partitionSpecId}`).values()) {
    if (alike.length < minCount) continue
    let group: Array<ManifestFile> = []
    let bytes = 0
    for (const line of alike) {
      if (group.length > 0 && bytes + line.lengthBytes > target) {
        if (group.length > 1) groups.push(group)
        group = []
        bytes = 0
      }
      group.push(line)
      bytes += line.lengthBytes
    }
    if (group.length > 1) groups.push(group)
  }
  return groups
}
