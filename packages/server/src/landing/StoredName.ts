import type { DateTime } from "effect"

/** Most bytes of a stored name: file systems allow 255, and a number may be put before the extension. */
const maxBytes = 200

const bytesOf = (text: string) => Buffer.byteLength(text, "utf8")

/** Cuts from the end so that at most `limit` bytes stay and no character is split. */
const cut = (text: string, limit: number): string => {
  const characters = Array.from(text)
  while (bytesOf(characters.join("")) > limit) characters.pop()
  return characters.join("")
}

/**
 * The name part of what a client calls its file: no folders, no control characters, nothing that means something to a
 * file system, a SQL glob or a shell. Letters and digits of any alphabet, `.`, `_` and `-` stay. Never empty.
 */
export const baseName = (sent: string): string => {
  const last = sent.normalize("NFC").split(/[/\\]/).at(-1) ?? ""
  const plain = last
    .replace(/[^\p{L}\p{N}._-]+/gu, "_")
    .replace(/^[._-]+/, "")
    .replace(/[._-]+$/, "")
  return plain === "" ? "file" : plain
}

/** `data.tar.gz` -> [`data.tar`, `.gz`] */
const split = (name: string): readonly [stem: string, extension: string] => {
  const dot = name.lastIndexOf(".")
  return dot <= 0 ? [name, ""] : [name.slice(0, dot), name.slice(dot)]
}

/** `YYYYMMDD_HHMMSS_` in UTC. */
export const timePrefix = (at: DateTime.Utc): string => {
  const [date, time] = new Date(at.epochMilliseconds).toISOString().split("T") as [string, string]
  return `${date.replaceAll("-", "")}_${time.slice(0, 8).replaceAll(":", "")}_`
}

/**
 * Name under which an upload is stored: time prefix + base name, and `_2`, `_3`, … before the extension when the
 * `attempt`s before it were taken.
 */
export const storedName = (sent: string, at: DateTime.Utc, attempt: number): string => {
  const [stem, longExtension] = split(baseName(sent))
  const extension = cut(longExtension, 50)
  const suffix = attempt === 1 ? extension : `_${attempt}${extension}`
  const prefix = timePrefix(at)
  return `${prefix}${cut(stem, maxBytes - bytesOf(prefix) - bytesOf(suffix))}${suffix}`
}
