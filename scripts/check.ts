/**
 * The gate: types, lint and formatting, layers, dead code. Runs all of them and prints every failure.
 * `npm run check -- types layers` runs only some.
 */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { checkConfigurationPage } from "./configuration.ts"
import { checkLayers } from "./layers.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const bin = (name: string) => `${root}node_modules/.bin/${name}`

const command =
  (file: string, ...args: Array<string>) =>
  () =>
    new Promise<{ ok: boolean; output: string }>((resolve) => {
      const child = spawn(bin(file), args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] })
      let output = ""
      child.stdout.on("data", (chunk) => {
        output += chunk
      })
      child.stderr.on("data", (chunk) => {
        output += chunk
      })
      child.on("error", (error) => resolve({ ok: false, output: String(error) }))
      child.on("close", (code) => resolve({ ok: code === 0, output }))
    })

const checks: Record<string, () => Promise<{ ok: boolean; output: string }>> = {
  types: command("tsc", "--pretty"),
  lint: command("biome", "check", "--error-on-warnings", "."),
  layers: async () => {
    const problems = await checkLayers(root)
    return { ok: problems.length === 0, output: problems.join("\n") }
  },
  docs: async () => {
    const problem = await checkConfigurationPage()
    return { ok: problem === undefined, output: problem ?? "" }
  },
  unused: command("knip", "--no-progress"),
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(name in checks))
if (unknown.length > 0) {
  console.error(`Unknown check ${unknown.join(", ")}. There are: ${Object.keys(checks).join(", ")}.`)
  process.exit(2)
}
let failed = 0
for (const [name, run] of Object.entries(checks)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  const started = performance.now()
  const { ok, output } = await run()
  console.log(`${ok ? "ok  " : "FAIL"} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`)
  if (!ok) {
    failed += 1
    console.log(output)
  }
}
process.exit(failed === 0 ? 0 : 1)
