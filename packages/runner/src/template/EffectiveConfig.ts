import { defaultPipelineConfig, PipelineConfig } from "@rat/domain"
import { type Annotation, readHeader } from "./Annotations.ts"
import { readConfigYaml } from "./ConfigYaml.ts"
import type { Issue } from "./Issue.ts"
import { queueingIssues } from "./Queueing.ts"
import { readSetting, settingKeys } from "./Setting.ts"
import type { Settings } from "./SettingValue.ts"
import { type Given, strategyIssues } from "./StrategySettings.ts"

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
  const given = new Map<string, Given>()
  const issues: Array<Issue> = []
  for (const { key, value, line, column } of annotations) {
    const read = readSetting(key, value)
    given.set(key, { source: "code", line, column })
    if ("set" in read) Object.assign(settings, read.set)
    else issues.push({ line, column, code: read.code.replace("config.", "annotation."), message: read.problem })
  }
  return { settings, given, issues }
}

/** The settings of a pipeline from its two files; `configYaml` is null when there is none. */
export const effectiveConfig = (code: string, configYaml: string | null): EffectiveConfig => {
  const file =
    configYaml === null ? { settings: {}, given: new Map<string, Given>(), issues: [] } : readConfigYaml(configYaml)
  const header = readHeader(code, settingKeys)
  const annotated = settingsOf(header.annotations)
  const config = new PipelineConfig({ ...defaultPipelineConfig, ...file.settings, ...annotated.settings })
  // Rules between settings say something only when each of them was understood.
  const isRead = header.issues.length + annotated.issues.length + file.issues.length === 0
  const given = new Map([...file.given, ...annotated.given])
  const rules = isRead ? [...strategyIssues(config, given), ...queueingIssues(config, given)] : []
  const of = (wanted: Given["source"]) =>
    rules.filter(({ source }) => source === wanted).map(({ source: _, ...issue }) => issue)
  return {
    config,
    codeIssues: [
      ...header.issues,
      ...annotated.issues,
      ...of("code").map((issue) => ({ ...issue, code: issue.code.replace("config.", "annotation.") })),
    ],
    configIssues: [...file.issues, ...of("config")],
  }
}
