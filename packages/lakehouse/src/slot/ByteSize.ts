import { Config, Schema } from "effect"

const units: { readonly [unit: string]: number } = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
}

/** Bytes of a text such as `512MB`, `2 GiB`, `1.5gb` or `1048576`, rounded down; null when it is no size above 0. */
export const parseBytes = (text: string): number | null => {
  const found = /^(?:(\d+)|(\d+(?:\.\d+)?)\s*([a-z]+))$/i.exec(text.trim())
  if (found === null) return null
  const [, whole, amount, unit = ""] = found
  const bytes = whole === undefined ? Math.floor(Number(amount) * (units[unit.toLowerCase()] ?? 0)) : Number(whole)
  return bytes > 0 && Number.isSafeInteger(bytes) ? bytes : null
}

const Size = Schema.String.check(
  Schema.makeFilter((text: string) => (parseBytes(text) === null ? "must be a size such as 512MB or 2GiB" : undefined)),
)

/** A setting that is a size in bytes, with units as people write them. */
export const byteSize = (name: string, fallback: number): Config.Config<number> =>
  Config.schema(Size, name).pipe(
    Config.map((text) => parseBytes(text) ?? fallback),
    Config.withDefault(fallback),
  )
