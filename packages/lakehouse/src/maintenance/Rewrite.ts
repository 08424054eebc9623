import { Effect } from "effect"
import { partitionFields, specOf } from "../iceberg/PartitionSpec.ts"
import type { ScanPlan } from "../scan/ScanPlanner.ts"
import { quoteName } from "../scan/SqlText.ts"
import { lineageColumns } from "../write/CopySql.ts"
import type { WrittenFile } from "../write/CopyStats.ts"
import { writeRows } from "../write/RowWriter.ts"
import { bindSort } from "../write/SortOrder.ts"

/**
 * Writes rows of the plan's files as files of the table's current schema, spec and sort order. Files of the current spec are of
 * one partition, which is the new files' as well; rows of older specs are divided anew.
 */
export const rewriteFiles = Effect.fn("Rewrite.rewriteFiles")(function* (rewrite: {
  readonly plan: ScanPlan
  readonly pathOf: (location: string) => string
  readonly targetFileBytes: number
  readonly name: string
  readonly locationOf: (index: number) => string
}) {
  const { pathOf, plan } = rewrite
  const { metadata, schema } = plan
  const hasLineage = metadata.formatVersion >= 3
  const specId = metadata.defaultSpecId
  const isCurrent = plan.files.every((file) => file.specId === specId)
  const spec = specOf(metadata, specId)!
  const names = [...schema.fields, ...(hasLineage ? lineageColumns : [])].map(({ name }) => quoteName(name))
  const relation = hasLineage ? plan.positions(pathOf, { lineage: true }) : plan.relation(pathOf)
  const kept = bindSort(metadata, schema, null)
  const sort = typeof kept === "string" ? { columns: [], orderId: 0 } : kept
  const written = yield* writeRows({
    layout: {
      schema,
      specId,
      partition: isCurrent ? [] : partitionFields(spec, metadata.schemas, metadata.currentSchemaId),
      sort: sort.columns,
      sortOrderId: sort.orderId,
      fileSizeBytes: rewrite.targetFileBytes,
    },
    select: `select ${names.join(", ")} from (${relation})`,
    hasLineage,
    bytesPerRow: plan.rowCount === 0 ? 0 : plan.sizeBytes / plan.rowCount,
    name: rewrite.name,
    locationOf: rewrite.locationOf,
  })
  const partition = isCurrent ? plan.files[0]?.partition : undefined
  return written.map(
    ({ file, localPath }): WrittenFile => ({
      localPath,
      file: { ...file, schemaId: schema.schemaId, ...(partition === undefined ? {} : { partition }) },
    }),
  )
})
