import { didYouMean } from "@rat/domain/suggestion"
import { type Issue, placeOf } from "./Issue.ts"
import { missingParameter, someParameter, type TemplateParameters } from "./Parameters.ts"
import { relationName } from "./RelationName.ts"
import { markTemplate, templateOffset } from "./SourceMap.ts"
import { loadTemplateEngine, type TemplateEnvironment } from "./TemplateEngine.ts"
import { callOffset, literalCalls } from "./TemplateSource.ts"

/** What a template may know, as plain data: it goes over the slot's channel. */
export interface TemplateContext {
  readonly namespace: string
  readonly layer: string
  readonly name: string
  /** Whether the pipeline's own table exists; `this` is undefined until then. */
  readonly hasTable: boolean
  /** Folder with one folder per landing zone, as the slot's engine sees it. */
  readonly landingFolder: string
  readonly runId: string
  /** UTC, ISO 8601. */
  readonly runStartedAt: string
  /** The moment that the run is about, the same for all of its attempts. UTC, ISO 8601. */
  readonly logicalTime: string
  readonly parameters: TemplateParameters
  /** Largest value of the watermark column in the table, as text; null when there is none. */
  readonly watermarkValue: string | null
  /** Answers of the `is_*()` functions by name. */
  readonly flags: Readonly<Record<string, boolean>>
}

export interface Rendered {
  readonly sql: string
  /** Arguments of `ref()` as written, each once, in order of first use. */
  readonly refs: ReadonlyArray<string>
  readonly zones: ReadonlyArray<string>
  /** Whether the SQL reads the pipeline's own table. */
  readonly usesThis: boolean
  /** Parameters that the template asks for, in whatever branch. */
  readonly parameters: ReadonlyArray<string>
}

export type RenderResult =
  | ({ readonly _tag: "Rendered" } & Rendered)
  | { readonly _tag: "Problem"; readonly problem: Issue }

/** Steps that one rendering may take: about 50 ms of work. */
const fuel = 1_000_000

/** Functions that people know from elsewhere and that do not exist here: what to do instead. */
const elsewhere: Readonly<Record<string, string>> = {
  source: "Use landing_zone('zone') for uploaded files and ref('layer.name') for tables.",
  config: "Write settings as annotations at the top of the file (`-- @merge_strategy: append_only`) or in config.yaml.",
  var: "Use param('name') for what a run is given, or `{% set name = value %}`.",
  env_var: "Environment variables of the server are not readable from pipelines. Write the value into the SQL.",
}

/** Name of the template inside the engine; never shown. */
const templateName = "template"

/** First line of the engine's message, and the carets under the offending part. Lines start with seven columns of margin. */
const headline = /^(.*?)(?: \(in template:(\d+)\))?$/
const carets = /^ {4,}i (\s*)(\^+)/m

const limitProblem: Issue = {
  code: "template.limit",
  message: "The template does too much: it ran out of steps or memory. Shorten its loops or the text that it makes.",
}

/** A template that cannot do with made-up parameters: what is wrong with it, if anything, shows when it runs. */
export const unforeseeable: Issue = {
  code: "param.unknown",
  message: "What the template makes depends on parameters that only a run has.",
}

const problemOf = (source: string, error: Error, names: ReadonlyArray<string>): Issue => {
  const [, detail = "", lineText] = headline.exec(error.message.split("\n")[0] ?? "") ?? []
  const line = lineText === undefined ? undefined : Number(lineText)
  const mark = carets.exec(error.message)
  const column = mark === null ? undefined : mark[1]!.length + 1
  const place = { ...(line === undefined ? {} : { line }), ...(column === undefined ? {} : { column }) }
  const token =
    line === undefined || mark === null
      ? ""
      : (source.split("\n")[line - 1] ?? "").slice(mark[1]!.length, mark[1]!.length + mark[2]!.length)

  if (detail.startsWith("engine ran out of fuel")) return { ...limitProblem, ...place }
  if (detail.startsWith("syntax error")) {
    return { ...place, code: "template.syntax", message: `Template syntax: ${detail.slice("syntax error: ".length)}.` }
  }
  if (detail.startsWith("undefined value") || detail.startsWith("unknown function")) {
    const name = token.split(/[.([|\s]/)[0] ?? token
    return {
      ...place,
      code: "template.undefined",
      message:
        name === "this"
          ? "`this` is not defined: the pipeline's table does not exist before its first run is published. Put what needs it into {% if this is defined %} … {% endif %}."
          : `\`${token}\` is not defined.${didYouMean(name, names)} Defined are: ${names.join(", ")}.`,
    }
  }
  return { ...place, code: "template.error", message: `Template: ${detail}.` }
}

/** Renders templates. One per slot process. Rendering never throws: problems come back as data. */
export class Template {
  #Environment: new () => TemplateEnvironment

  private constructor(Environment: new () => TemplateEnvironment) {
    this.#Environment = Environment
  }

  static async load(): Promise<Template> {
    return new Template(await loadTemplateEngine())
  }

  /** Only whether it compiles: nothing of it runs. */
  async check(source: string): Promise<Issue | null> {
    const result = await this.#guarded((environment) => environment.addTemplate(templateName, source))
    if (result._tag === "Value") return null
    return result.error === null ? limitProblem : problemOf(source, result.error, [])
  }

  async render(source: string, context: TemplateContext): Promise<RenderResult> {
    const refs = new Set<string>()
    const zones = new Set<string>()
    const asked = new Set(literalCalls(source, "param").map((call) => call.argument))
    // Functions must not throw: that would end the engine. The first problem is kept and reported after the rendering.
    let problem: Issue | null = null
    const refuse = (name: string, argument: string | null, code: string, message: string) => {
      const offset =
        (argument === null
          ? undefined
          : literalCalls(source, name).find((call) => call.argument === argument)?.offset) ?? callOffset(source, name)
      problem ??= { ...(offset === null ? {} : placeOf(source, offset)), code, message }
      return ""
    }
    const self = relationName(context.namespace, context.layer, context.name)
    const variables: Record<string, unknown> = {
      run_id: context.runId,
      run_started_at: context.runStartedAt,
      logical_time: context.logicalTime,
      watermark_value: context.watermarkValue,
      ref: (argument: unknown) => {
        const parts = typeof argument === "string" ? argument.split(".") : []
        const [namespace, layer, name] = parts.length === 2 ? [context.namespace, ...parts] : parts
        if (parts.length > 3 || namespace === undefined || layer === undefined || name === undefined) {
          const shown = typeof argument === "string" ? `'${argument}'` : ""
          return refuse(
            "ref",
            typeof argument === "string" ? argument : null,
            "ref.invalid",
            `ref(${shown}) must name a table as 'layer.name' or 'namespace.layer.name'.`,
          )
        }
        refs.add(argument as string)
        return relationName(namespace, layer, name)
      },
      landing_zone: (argument: unknown) => {
        if (typeof argument !== "string" || argument === "") {
          return refuse(
            "landing_zone",
            null,
            "zone.invalid",
            "landing_zone() must name a landing zone: landing_zone('zone').",
          )
        }
        zones.add(argument)
        return `${context.landingFolder}/${argument}/**`
      },
    }
    let guessed = false
    variables.param = (...given: ReadonlyArray<unknown>) => {
      const [argument, fallback] = given
      if (typeof argument !== "string" || argument === "") {
        return refuse("param", null, "param.invalid", "param() must name a parameter of the run: param('name').")
      }
      asked.add(argument)
      const { parameters } = context
      if (parameters !== null && Object.hasOwn(parameters, argument)) return parameters[argument]
      // `none` comes as undefined.
      if (given.length > 1) return fallback ?? null
      if (parameters !== null) {
        return refuse("param", argument, "param.missing", missingParameter(argument, parameters))
      }
      guessed = true
      return someParameter
    }
    if (context.hasTable) variables.this = self
    for (const [name, answer] of Object.entries(context.flags)) {
      // The table must be there to be read from: see StrategyFlags.
      variables[name] = () => answer && (name !== "is_incremental" || context.hasTable)
    }
    const names = Object.keys(variables).concat(context.hasTable ? [] : ["this"])
    for (const [name, advice] of Object.entries(elsewhere)) {
      variables[name] = () => refuse(name, null, "template.unsupported", `${name}() does not exist here. ${advice}`)
    }

    const result = await this.#guarded((environment) => environment.renderNamedStr(templateName, source, variables))
    if (problem !== null) return { _tag: "Problem", problem }
    if (result._tag === "Failed") {
      if (guessed) return { _tag: "Problem", problem: unforeseeable }
      return { _tag: "Problem", problem: result.error === null ? limitProblem : problemOf(source, result.error, names) }
    }
    return {
      _tag: "Rendered",
      sql: result.value,
      refs: [...refs],
      zones: [...zones],
      usesThis: context.hasTable && result.value.includes(self),
      parameters: [...asked],
    }
  }

  /** Line and column in the template of an offset in the SQL that it rendered to; null when that cannot be told. */
  async locate(
    source: string,
    context: TemplateContext,
    offset: number,
  ): Promise<{ line: number; column: number } | null> {
    const marked = markTemplate(source)
    if (marked === null) return null
    const plain = await this.render(source, context)
    const traced = await this.render(marked, context)
    if (plain._tag !== "Rendered" || traced._tag !== "Rendered") return null
    const found = templateOffset(plain.sql, traced.sql, offset)
    return found === null ? null : placeOf(source, found)
  }

  /** Runs with a fresh environment. A null error means that the engine itself gave up; the next one is loaded. */
  async #guarded<A>(
    use: (environment: TemplateEnvironment) => A,
  ): Promise<
    { readonly _tag: "Value"; readonly value: A } | { readonly _tag: "Failed"; readonly error: Error | null }
  > {
    const environment = new this.#Environment()
    try {
      environment.debug = true
      environment.undefinedBehavior = "strict"
      environment.fuel = fuel
      const value = use(environment)
      environment.free()
      return { _tag: "Value", value }
    } catch (error) {
      if (error instanceof Error && !(error instanceof WebAssembly.RuntimeError)) {
        environment.free()
        return { _tag: "Failed", error }
      }
      this.#Environment = await loadTemplateEngine()
      return { _tag: "Failed", error: null }
    }
  }
}
