import { NessieCatalog, PostgresCatalog } from "@rat/lakehouse"
import { Config, Effect, Layer, Option } from "effect"
import { SettingInvalid } from "./NodeConfig.ts"

/** The catalog that the settings name. */
export const nodeCatalog = Layer.unwrap(
  Effect.gen(function* () {
    const kind = yield* Config.String("RAT_CATALOG").pipe(Config.withDefault("postgres"))
    if (kind === "postgres") return PostgresCatalog.layer
    if (kind !== "nessie") {
      return yield* new SettingInvalid({ name: "RAT_CATALOG", reason: `"${kind}" is neither postgres nor nessie.` })
    }
    const url = yield* Config.String("RAT_NESSIE_URL").pipe(Config.withDefault(""))
    if (!URL.canParse(url) || !/^https?:/.test(url)) {
      return yield* new SettingInvalid({
        name: "RAT_NESSIE_URL",
        reason: `"${url}" is not a URL such as http://127.0.0.1:19120.`,
      })
    }
    const token = yield* Config.option(Config.Redacted("RAT_NESSIE_TOKEN"))
    const timeout = yield* Config.option(Config.Duration("RAT_NESSIE_TIMEOUT"))
    return NessieCatalog.layer({
      url,
      ...(Option.isSome(timeout) ? { timeout: timeout.value } : {}),
      ...(Option.isSome(token) ? { token: token.value } : {}),
    })
  }),
)
