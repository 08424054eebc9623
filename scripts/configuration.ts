/** Writes `docs/configuration.md` from the table of settings; the check compares. */
import { readFile, writeFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"

const page = fileURLToPath(new URL("../docs/configuration.md", import.meta.url))

const render = async () => {
  const { settings } = await import("../packages/server/src/node/Settings.ts")
  const cell = (text: string) => text.replaceAll("|", "\\|")
  return [
    "# Configuration",
    "",
    "Every setting of a node. A flag wins over its variable, a variable over the default. `RAT_*` variables that nothing reads are",
    "named at start, with the nearest name that exists. Telemetry follows the standard `OTEL_*` variables: nothing is exported until",
    "`OTEL_EXPORTER_OTLP_ENDPOINT` is set. This page is made by `npm run format` from `packages/server/src/node/Settings.ts`.",
    "",
    "| Variable | Flag | Default | Meaning |",
    "|---|---|---|---|",
    ...settings.map(
      ({ env, flag, fallback, doc }) =>
        `| \`${env}\` | ${flag === undefined ? "" : `\`${flag}\``} | ${fallback === "" ? "–" : cell(fallback)} | ${cell(doc)} |`,
    ),
    "",
  ].join("\n")
}

export const writeConfigurationPage = async () => writeFile(page, await render())

/** A sentence when the page is out of date, nothing when it is as it should be. */
export const checkConfigurationPage = async (): Promise<string | undefined> => {
  const written = await readFile(page, "utf8").catch(() => "")
  return written === (await render()) ? undefined : "docs/configuration.md is out of date; `npm run format` writes it"
}
