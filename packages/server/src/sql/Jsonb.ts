/** Text as Postgres can hold it: without NUL, which `text` and `jsonb` refuse, and with lone surrogates replaced. */
export const storableText = (text: string): string => text.replaceAll("\0", "").toWellFormed()

/** JSON for a parameter that is cast to `jsonb`: one bad character in user data must not fail a whole batch. */
export const toJsonb = (value: unknown): string =>
  JSON.stringify(value, (_key, part) => (typeof part === "string" ? storableText(part) : part))
