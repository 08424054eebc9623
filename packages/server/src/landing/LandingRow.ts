import { LandingFile, LandingZone, NamespaceName, ZoneName } from "@rat/domain"
import { DateTime } from "effect"

/** Columns of table `landing_zone` (as `z`), with what its shown files come to. */
export const zoneColumns = `
  z.id, z.namespace, z.name, z.description, z.owner, z.expected_schema, z.auto_purge, z.created_at, z.updated_at,
  (select count(*) from landing_file as f where f.zone_id = z.id and f.uploaded_at is not null) as file_count,
  (select coalesce(sum(f.size_bytes), 0) from landing_file as f
   where f.zone_id = z.id and f.uploaded_at is not null) as total_bytes`

export interface ZoneRow {
  readonly id: string
  readonly namespace: string
  readonly name: string
  readonly description: string
  readonly owner: string | null
  readonly expected_schema: string
  readonly auto_purge: boolean
  readonly created_at: Date
  readonly updated_at: Date
  readonly file_count: bigint
  readonly total_bytes: bigint
}

export const toLandingZone = (row: ZoneRow): LandingZone =>
  new LandingZone({
    id: row.id,
    namespace: NamespaceName.make(row.namespace),
    name: ZoneName.make(row.name),
    description: row.description,
    ...(row.owner === null ? {} : { owner: row.owner }),
    expected_schema: row.expected_schema,
    auto_purge: row.auto_purge,
    created_at: DateTime.fromDateUnsafe(row.created_at),
    updated_at: DateTime.fromDateUnsafe(row.updated_at),
    file_count: Number(row.file_count),
    total_bytes: Number(row.total_bytes),
  })

/** Columns of table `landing_file`. */
export const fileColumns = "id, zone_id, filename, object_key, size_bytes, content_type, uploaded_by, uploaded_at"

export interface FileRow {
  readonly id: string
  readonly zone_id: string
  readonly filename: string
  readonly object_key: string
  readonly size_bytes: bigint
  readonly content_type: string
  readonly uploaded_by: string | null
  readonly uploaded_at: Date
}

export const toLandingFile = (row: FileRow): LandingFile =>
  new LandingFile({
    id: row.id,
    zone_id: row.zone_id,
    filename: row.filename,
    s3_path: row.object_key,
    size_bytes: Number(row.size_bytes),
    content_type: row.content_type,
    ...(row.uploaded_by === null ? {} : { uploaded_by: row.uploaded_by }),
    uploaded_at: DateTime.fromDateUnsafe(row.uploaded_at),
  })
