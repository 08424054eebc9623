import { kebabStruct, orElse, printLosslessJson, SchemaCodec } from "@rat/lakehouse"
import { Schema as Codec, Result } from "effect"
import { type RestFailure, refuse } from "./RestFailure.ts"

/** A view's metadata file (Iceberg view spec, "View Metadata") and the updates that make a new one of it. */

const StringMap = Codec.Record(Codec.String, Codec.String)

export const ViewVersionCodec = kebabStruct({
  versionId: Codec.Int,
  timestampMs: Codec.Int,
  schemaId: Codec.Int,
  summary: orElse(StringMap, {}),
  representations: Codec.Array(
    Codec.Struct({ type: Codec.Literal("sql"), sql: Codec.String, dialect: Codec.String }),
  ).check(Codec.isNonEmpty()),
  defaultCatalog: Codec.optionalKey(Codec.NullOr(Codec.String)),
  defaultNamespace: Codec.Array(Codec.String),
})
export type ViewVersion = typeof ViewVersionCodec.Type

const ViewMetadataCodec = kebabStruct({
  viewUuid: Codec.String,
  formatVersion: Codec.Literal(1),
  location: Codec.String,
  currentVersionId: Codec.Int,
  versions: Codec.Array(ViewVersionCodec),
  versionLog: Codec.Array(kebabStruct({ versionId: Codec.Int, timestampMs: Codec.Int })),
  schemas: Codec.Array(SchemaCodec),
  properties: orElse(StringMap, {}),
})
export type ViewMetadata = typeof ViewMetadataCodec.Type

export const decodeView = Codec.decodeUnknownResult(ViewMetadataCodec)
export const encodeView = Codec.encodeSync(ViewMetadataCodec)

const updateCodecs = {
  "assign-uuid": kebabStruct({ uuid: Codec.String.check(Codec.isUUID()) }),
  "upgrade-format-version": kebabStruct({ formatVersion: Codec.Int }),
  "add-schema": kebabStruct({ schema: SchemaCodec }),
  "set-location": kebabStruct({ location: Codec.String }),
  "set-properties": kebabStruct({ updates: StringMap }),
  "remove-properties": kebabStruct({ removals: Codec.Array(Codec.String) }),
  "add-view-version": kebabStruct({ viewVersion: ViewVersionCodec }),
  "set-current-view-version": kebabStruct({ viewVersionId: Codec.Int }),
}
type Action = keyof typeof updateCodecs
export type ViewUpdate = {
  readonly [A in Action]: { readonly action: A } & (typeof updateCodecs)[A]["Type"]
}[Action]

export const decodeViewUpdate = (value: unknown): Result.Result<ViewUpdate, RestFailure> => {
  const action = (value as { readonly action?: unknown } | null)?.action
  if (typeof action !== "string" || !Object.hasOwn(updateCodecs, action)) {
    return Result.fail(
      refuse(
        "BadRequestException",
        `The update ${printLosslessJson(action ?? null)} is unknown for views. Known are: ${Object.keys(updateCodecs).join(", ")}.`,
      ),
    )
  }
  const decode = Codec.decodeUnknownResult(updateCodecs[action as Action] as Codec.Codec<object, unknown>)
  return decode(value).pipe(
    Result.map((fields) => ({ action, ...fields }) as ViewUpdate),
    Result.mapError((error) =>
      refuse(
        "BadRequestException",
        `The update "${action}" is not valid: ${error.message.replace(/\s+/g, " ").slice(0, 500)}`,
      ),
    ),
  )
}

/** The spec's default of `version.history.num-entries`. */
const keptVersions = 10

const sameVersion = (left: ViewVersion, right: ViewVersion): boolean => {
  const text = ({ versionId: _, timestampMs: __, ...rest }: ViewVersion) =>
    JSON.stringify(rest, Object.keys(rest).sort())
  return text(left) === text(right) && JSON.stringify(left.representations) === JSON.stringify(right.representations)
}

/** A view before its first version. */
export const emptyView = (viewUuid: string, location: string): ViewMetadata => ({
  viewUuid,
  formatVersion: 1,
  location,
  currentVersionId: -1,
  versions: [],
  versionLog: [],
  schemas: [],
  properties: {},
})

/** Metadata after a list of updates; -1 stands for what was added last. Nothing changes where one is refused. */
export const applyViewUpdates = (
  before: ViewMetadata,
  updates: ReadonlyArray<ViewUpdate>,
  nowMs: number,
): Result.Result<ViewMetadata, RestFailure> => {
  const refused = (action: string, reason: string) =>
    Result.fail(refuse("BadRequestException", `The update "${action}" is not possible: ${reason}.`))
  let view = before
  let lastSchema: number | null = null
  let lastVersion: number | null = null
  for (const update of updates) {
    switch (update.action) {
      case "assign-uuid":
        if (view.versions.length > 0 && update.uuid !== view.viewUuid)
          return refused(update.action, "the view has another uuid")
        view = { ...view, viewUuid: update.uuid }
        break
      case "upgrade-format-version":
        if (update.formatVersion !== 1) return refused(update.action, "views have format version 1")
        break
      case "add-schema": {
        const text = JSON.stringify(update.schema.fields)
        const known = view.schemas.find(({ fields }) => JSON.stringify(fields) === text)
        lastSchema = known?.schemaId ?? Math.max(-1, ...view.schemas.map(({ schemaId }) => schemaId)) + 1
        if (known === undefined) {
          view = { ...view, schemas: [...view.schemas, { ...update.schema, schemaId: lastSchema }] }
        }
        break
      }
      case "set-location":
        if (update.location.replace(/\/+$/, "") !== view.location) {
          return refused(update.action, `the view stays in ${view.location}`)
        }
        break
      case "set-properties":
        view = { ...view, properties: { ...view.properties, ...update.updates } }
        break
      case "remove-properties":
        view = {
          ...view,
          properties: Object.fromEntries(
            Object.entries(view.properties).filter(([name]) => !update.removals.includes(name)),
          ),
        }
        break
      case "add-view-version": {
        const schemaId = update.viewVersion.schemaId === -1 ? lastSchema : update.viewVersion.schemaId
        if (schemaId === null || !view.schemas.some((schema) => schema.schemaId === schemaId)) {
          return refused(update.action, `there is no schema ${schemaId ?? "that was added before"}`)
        }
        const dialects = update.viewVersion.representations.map(({ dialect }) => dialect.toLowerCase())
        const twice = dialects.find((dialect, index) => dialects.indexOf(dialect) !== index)
        if (twice !== undefined) return refused(update.action, `the dialect "${twice}" occurs twice`)
        const version = { ...update.viewVersion, schemaId }
        const known = view.versions.find((each) => sameVersion(each, version))
        lastVersion = known?.versionId ?? Math.max(0, ...view.versions.map(({ versionId }) => versionId)) + 1
        if (known === undefined) {
          view = { ...view, versions: [...view.versions, { ...version, versionId: lastVersion }] }
        }
        break
      }
      case "set-current-view-version": {
        const versionId = update.viewVersionId === -1 ? lastVersion : update.viewVersionId
        if (versionId === null || !view.versions.some((version) => version.versionId === versionId)) {
          return refused(update.action, `there is no version ${versionId ?? "that was added before"}`)
        }
        view = {
          ...view,
          currentVersionId: versionId,
          versionLog: [...view.versionLog, { versionId, timestampMs: nowMs }],
        }
        break
      }
    }
  }
  if (!view.versions.some(({ versionId }) => versionId === view.currentVersionId)) {
    return refused("set-current-view-version", "the view has no current version")
  }
  return Result.succeed(trimmed(view))
}

/** Old versions go, the current one never. */
const trimmed = (view: ViewMetadata): ViewMetadata => {
  const limit = Math.max(1, Number(view.properties["version.history.num-entries"]) || keptVersions)
  if (view.versions.length <= limit) return view
  const newest = [...view.versions].sort((left, right) => right.versionId - left.versionId).slice(0, limit)
  const kept = new Set([...newest.slice(0, limit - 1).map(({ versionId }) => versionId), view.currentVersionId])
  for (const { versionId } of newest) if (kept.size < limit) kept.add(versionId)
  const log = view.versionLog
  const lastGone = log.findLastIndex(({ versionId }) => !kept.has(versionId))
  return {
    ...view,
    versions: view.versions.filter(({ versionId }) => kept.has(versionId)),
    versionLog: log.slice(lastGone + 1),
  }
}
