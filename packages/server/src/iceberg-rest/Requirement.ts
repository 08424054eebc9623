import type { TableMetadata } from "@rat/lakehouse"
import type { TableRequirement } from "./TableUpdateJson.ts"

/** A requirement that does not hold: what is expected and what is there, as a sentence. */
export interface Unmet {
  readonly requirement: TableRequirement
  readonly reason: string
}

const compare = (requirement: TableRequirement, what: string, expected: unknown, found: unknown): Unmet | null =>
  expected === found
    ? null
    : { requirement, reason: `${what} is ${found ?? "not there"}, the commit expects ${expected ?? "none"}` }

const snapshotOf = (metadata: TableMetadata, ref: string): bigint | null =>
  metadata.refs[ref]?.snapshotId ?? (ref === "main" ? metadata.currentSnapshotId : null)

const check = (metadata: TableMetadata, requirement: TableRequirement): Unmet | null => {
  switch (requirement.type) {
    case "assert-create":
      return { requirement, reason: "the table exists already" }
    case "assert-table-uuid":
      return compare(requirement, "the table's uuid", requirement.uuid.toLowerCase(), metadata.tableUuid.toLowerCase())
    case "assert-ref-snapshot-id":
      return compare(
        requirement,
        `the snapshot of ${requirement.ref}`,
        requirement.snapshotId ?? null,
        snapshotOf(metadata, requirement.ref),
      )
    case "assert-last-assigned-field-id":
      return compare(requirement, "the last column id", requirement.lastAssignedFieldId, metadata.lastColumnId)
    case "assert-current-schema-id":
      return compare(requirement, "the current schema", requirement.currentSchemaId, metadata.currentSchemaId)
    case "assert-last-assigned-partition-id":
      return compare(
        requirement,
        "the last partition field id",
        requirement.lastAssignedPartitionId,
        metadata.lastPartitionId,
      )
    case "assert-default-spec-id":
      return compare(requirement, "the default partition spec", requirement.defaultSpecId, metadata.defaultSpecId)
    case "assert-default-sort-order-id":
      return compare(requirement, "the default sort order", requirement.defaultSortOrderId, metadata.defaultSortOrderId)
  }
}

/**
 * The requirements of a commit that do not hold for the table as it is (REST catalog, `TableRequirement`). `assert-create` is
 * the only one that a table which does not exist meets; a ref that must not exist does not exist there either.
 */
export const unmetRequirements = (
  metadata: TableMetadata | null,
  requirements: ReadonlyArray<TableRequirement>,
): ReadonlyArray<Unmet> =>
  requirements.flatMap((requirement) => {
    if (metadata === null) {
      const holds =
        requirement.type === "assert-create" ||
        (requirement.type === "assert-ref-snapshot-id" && (requirement.snapshotId ?? null) === null)
      return holds ? [] : [{ requirement, reason: "the table does not exist" }]
    }
    return check(metadata, requirement) ?? []
  })
