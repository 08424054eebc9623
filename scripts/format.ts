/** Mends what can be mended without thinking: formatting, import order, the page of settings. */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { writeConfigurationPage } from "./configuration.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
await writeConfigurationPage()
const { status } = spawnSync(`${root}node_modules/.bin/biome`, ["check", "--write", "."], {
  cwd: root,
  stdio: "inherit",
})
process.exit(status ?? 1)
