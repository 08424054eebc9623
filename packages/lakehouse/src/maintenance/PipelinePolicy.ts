import { MaintenancePolicyPart } from "@rat/domain"
import { Option, Schema } from "effect"
import type { MetadataUpdate } from "../iceberg/MetadataUpdate.ts"
import type { TableMetadata } from "../iceberg/TableMetadata.ts"

/**
 * Property of a table that holds the `maintenance:` block of its pipeline's config.yaml, as JSON: the policy goes with the table
 * onto branches and to whoever looks after it.
 */
const property = "rat.maintenance"

/** The pipeline's word about a table's maintenance; null when there is none, or none that can be read. */
export const pipelinePolicy = (metadata: Pick<TableMetadata, "properties">): MaintenancePolicyPart | null => {
  const text = metadata.properties[property]
  if (text === undefined) return null
  return Option.getOrNull(Schema.decodeUnknownOption(Schema.fromJsonString(MaintenancePolicyPart))(text))
}

/** What a run's commit has to change so that the table carries its pipeline's policy; nothing when it does. */
export const pipelinePolicyUpdates = (
  base: Pick<TableMetadata, "properties"> | null,
  policy: MaintenancePolicyPart | null,
): ReadonlyArray<MetadataUpdate> => {
  const before = base?.properties[property]
  if (policy === null) return before === undefined ? [] : [{ action: "remove-properties", removals: [property] }]
  const text = JSON.stringify(policy)
  return text === before ? [] : [{ action: "set-properties", updates: { [property]: text } }]
}
