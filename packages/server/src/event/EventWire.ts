import { type Event, EventType } from "@rat/domain"
import { DateTime } from "effect"
import { sseEvent } from "../http/ServerSentEvents.ts"

/** An event as the API shows it (the schema's JSON form), without the cost of running the schema for every event. */
export const eventJson = ({ at, key, namespace, offset, payload, type }: Event): string =>
  JSON.stringify({ offset: offset.toString(), key, type, namespace, payload, at: DateTime.formatIso(at) })

export const eventFrame = (event: Event): string => sseEvent({ id: event.offset.toString(), json: eventJson(event) })

/** Retention has removed events above `after`, up to and including `upTo`, that the reader asked for. */
export const gapFrame = (after: bigint, upTo: bigint): string =>
  sseEvent({
    name: "gap",
    id: upTo.toString(),
    json: JSON.stringify({ after: after.toString(), up_to: upTo.toString(), missed: Number(upTo - after) }),
  })

/** Types that a comma list names; `run.*` is every type of runs. A word that names none is the answer instead. */
export const typesOf = (text: string): ReadonlyArray<EventType> | { readonly unknown: string } => {
  const types = new Set<EventType>()
  for (const word of text.split(",").map((part) => part.trim())) {
    const found = EventType.literals.filter((type) =>
      word.endsWith(".*") ? type.startsWith(word.slice(0, -1)) : type === word,
    )
    if (found.length === 0) return { unknown: word }
    for (const type of found) types.add(type)
  }
  return [...types]
}
