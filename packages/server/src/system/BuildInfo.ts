import { Context } from "effect"

/** What runs here, as `/health/live` tells it. */
export class BuildInfo extends Context.Service<
  BuildInfo,
  { readonly version: string; readonly gitCommit: string; readonly buildTime: string }
>()("rat/server/system/BuildInfo") {}
