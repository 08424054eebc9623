import { spawnSync } from "node:child_process"

const root = new URL("..", import.meta.url).pathname
const { status } = spawnSync(`${root}node_modules/.bin/biome`, ["check", "--write", "."], {
  cwd: root,
  stdio: "inherit",
})
process.exit(status ?? 1)
