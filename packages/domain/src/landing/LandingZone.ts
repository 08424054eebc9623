import { Schema } from "effect"
import { Description, Name, NamespaceName } from "../namespace/Namespace.ts"

export const ZoneName = Name.pipe(Schema.brand("ZoneName"))
export type ZoneName = typeof ZoneName.Type

export class LandingZone extends Schema.Class<LandingZone>("rat/domain/LandingZone")({
  id: Schema.String,
  namespace: NamespaceName,
  name: ZoneName,
  description: Schema.String,
  owner: Schema.optional(Schema.String),
  expected_schema: Schema.String,
  auto_purge: Schema.Boolean,
  created_at: Schema.DateTimeUtcFromDate,
  updated_at: Schema.DateTimeUtcFromDate,
  file_count: Schema.Int,
  total_bytes: Schema.Int,
}) {}

export class LandingZoneCreate extends Schema.Class<LandingZoneCreate>("rat/domain/LandingZoneCreate")({
  namespace: NamespaceName,
  name: ZoneName,
  description: Schema.optional(Description),
}) {}

export class LandingZoneUpdate extends Schema.Class<LandingZoneUpdate>("rat/domain/LandingZoneUpdate")({
  description: Schema.optional(Description),
  owner: Schema.optional(Schema.String),
  expected_schema: Schema.optional(Schema.String),
}) {}

export class LandingFile extends Schema.Class<LandingFile>("rat/domain/LandingFile")({
  id: Schema.String,
  zone_id: Schema.String,
  filename: Schema.String,
  s3_path: Schema.String,
  size_bytes: Schema.Int,
  content_type: Schema.String,
  uploaded_by: Schema.optional(Schema.String),
  uploaded_at: Schema.DateTimeUtcFromDate,
}) {}

export class ZoneNotFound extends Schema.TaggedError<ZoneNotFound>()(
  "ZoneNotFound",
  { namespace: Schema.String, name: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `Landing zone "${this.namespace}/${this.name}" does not exist. \`rat upload --zone ${this.name} FILE\` makes one.`
  }
}

export class ZoneExists extends Schema.TaggedError<ZoneExists>()(
  "ZoneExists",
  { namespace: Schema.String, name: Schema.String },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Landing zone "${this.namespace}/${this.name}" already exists.`
  }
}

export class LandingFileNotFound extends Schema.TaggedError<LandingFileNotFound>()(
  "LandingFileNotFound",
  { id: Schema.String, zone: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `Landing zone "${this.zone}" has no file with id "${this.id}".`
  }
}
