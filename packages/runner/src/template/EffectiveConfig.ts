import { defaultPipelineConfig, PipelineConfig } from "@rat/domain"
import { type Annotation, readHeader } from "./Annotations.ts"
import { readConfigYaml } from "./ConfigYaml.ts"
import type { Issue } from "./Issue.ts"
import { readSetting, type Settings, settingKeys } from "./Setting.ts"

export interface EffectiveConfig {
  /** Annotation over config.yaml over default. Only to be used when both issue lists are empty. */
  readonly config: PipelineConfig
  /** Problems of pipeline.sql's header. */
  readonly codeIssues: ReadonlyArray<Issue>
  /** Problems of config.yaml. */
  readonly configIssues: ReadonlyArray<Issue>
}

const settingsOf = (annotations: ReadonlyArray<Annotation>) => {
  const settings: Settings = {}
  const issues: Array<Issue> = []
  for (const { key, value, line, column } of annotations) {
    const read = readSetting(key, value)
    if ("set" in read) Object.assign(settings, read.set)
    else issues.push({ line, column, code: read.code.replace("config.", "annotation."), message: read.problem })
  }
  return { settings, issues }
}

/** The settings of a pipeline from its two files; `configYaml` is null when there is none. */
export const effectiveConfig = (code: string, configYaml: string | null): EffectiveConfig => {
  const file = configYaml === null ? { settings: {}, issues: [] } : readConfigYaml(configYaml)
  const header = readHeader(code, settingKeys)
  const annotated = settingsOf(header.annotations)
  return {
    config: new PipelineConfig({ ...defaultPipelineConfig, ...file.settings, ...annotated.settings }),
    codeIssues: [...header.issues, ...annotated.issues],
    configIssues: file.issues,
  }
}
