import { FilePath, type PipelineCreate, pipelineFolder } from "@rat/domain"

/** The files a new pipeline starts with: they run as they are and show what can be changed. */
export const scaffoldOf = (pipeline: PipelineCreate): ReadonlyArray<{ name: string; path: FilePath; text: string }> => {
  const folder = pipelineFolder(pipeline)
  const file = (name: string, text: string) => ({ name, path: FilePath.make(`${folder}${name}`), text })
  return [
    file(
      "pipeline.sql",
      [
        `-- ${pipeline.namespace}.${pipeline.layer}.${pipeline.name}`,
        "-- The result of the last statement becomes the table. Read other tables with {{ ref('layer.name') }} and",
        "-- uploaded files with {{ landing_zone('name') }}.",
        "select 1 as id, 'hello' as message",
        "",
      ].join("\n"),
    ),
    file("config.yaml", ["materialized: table", "merge_strategy: full_refresh", ""].join("\n")),
  ]
}
