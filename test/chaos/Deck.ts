import type { Dice } from "./Dice.ts"

/**
 * What can happen to a cluster, and how often each is in a deck. A deck is played in an order that the seed decides, then
 * the next one: everything happens in every part of a long test, and all of it once in a short one.
 */
export const deckOf = {
  "kill a node": 6,
  "pause a node": 4,
  "drain a node": 3,
  "kill a slot": 4,
  "pause a slot": 2,
  "kill Postgres": 1,
  "stop Postgres": 1,
  "end sessions": 2,
  "reset sessions": 2,
  "slow Postgres": 1,
  "cut off Postgres": 2,
  "refuse Postgres": 1,
  "slow store": 1,
  "reset store": 2,
  "cut off store": 1,
  "break store": 2,
  "store away": 1,
} as const

export type Act = keyof typeof deckOf

export interface Card {
  readonly act: Act
  /** Pause before it, in milliseconds. */
  readonly pauseMs: number
  /** 0 inclusive to 1 exclusive: which of those that it can happen to, and how long it lasts. */
  readonly target: number
  readonly length: number
}

/** Cards without an end, the same ones for the same dice. `only`: no others. */
export function* deal(
  dice: Dice,
  options: { readonly pauseMs: number; readonly only?: ReadonlyArray<Act> },
): Generator<Card, never> {
  const deck = Object.entries(deckOf).flatMap(([act, count]) => Array.from({ length: count }, () => act as Act))
  const chosen = options.only === undefined ? deck : deck.filter((act) => options.only?.includes(act))
  if (chosen.length === 0)
    throw new Error(`No such act: ${options.only?.join()}. There are: ${Object.keys(deckOf).join(", ")}.`)
  for (;;) {
    for (const act of dice.shuffle(chosen)) {
      yield { act, pauseMs: dice.between(0, options.pauseMs), target: dice.roll(), length: dice.roll() }
    }
  }
}
