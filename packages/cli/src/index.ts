export { runCli } from "./Cli.ts"
