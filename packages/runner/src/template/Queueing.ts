import type { PipelineConfig, ProjectFile, Queueing } from "@rat/domain"
import { readHeader } from "./Annotations.ts"
import { readConfigYaml } from "./ConfigYaml.ts"
import type { Issue } from "./Issue.ts"
import { readSetting } from "./Setting.ts"
import type { Settings } from "./SettingValue.ts"
import type { Given } from "./StrategySettings.ts"

const keys = ["priority", "concurrency_key", "concurrency_limit"] as const

const settingsIn = ({ path, content }: ProjectFile): Settings => {
  if (path.endsWith("/config.yaml")) return readConfigYaml(content).settings
  if (!path.endsWith("/pipeline.sql")) return {}
  const settings: Settings = {}
  for (const { key, value } of readHeader(content, keys).annotations) {
    const read = readSetting(key, value)
    if ("set" in read) Object.assign(settings, read.set)
  }
  return settings
}

/** What one file of a pipeline says of how its runs queue. */
export const queueingOf = (file: ProjectFile): Queueing => {
  const { priority, concurrency_key, concurrency_limit } = settingsIn(file)
  return {
    ...(priority === undefined ? {} : { priority }),
    ...(concurrency_key == null ? {} : { concurrency_key }),
    ...(concurrency_limit === undefined ? {} : { concurrency_limit }),
  }
}

/** A limit of a key that nobody named. */
export const queueingIssues = (
  config: PipelineConfig,
  given: ReadonlyMap<string, Given>,
): ReadonlyArray<Issue & Pick<Given, "source">> => {
  const place = given.get("concurrency_limit")
  return place === undefined || config.concurrency_key !== null
    ? []
    : [
        {
          ...place,
          code: "config.missing_setting",
          message:
            "concurrency_limit has no effect without concurrency_key. Name the key that pipelines share, or remove the limit.",
        },
      ]
}
