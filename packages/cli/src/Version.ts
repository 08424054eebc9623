import { readFileSync } from "node:fs"

/** Version of this command line, from its package.json. */
export const ratVersion: string = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version
