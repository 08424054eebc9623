/** Choices that a seed fixes. What happens in which order still depends on the machine. */
export interface Dice {
  /** 0 inclusive to 1 exclusive. */
  readonly roll: () => number
  /** An integer, both ends inclusive. */
  readonly between: (least: number, most: number) => number
  readonly pick: <A>(items: readonly [A, ...Array<A>]) => A
  readonly shuffle: <A>(items: ReadonlyArray<A>) => ReadonlyArray<A>
  /** Dice of their own for somebody, so that what one does depends on no other's pace. */
  readonly of: (name: string) => Dice
}

/** FNV-1a. */
const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (const character of text) value = Math.imul(value ^ character.charCodeAt(0), 0x01000193)
  return value >>> 0
}

/** Mulberry32. */
export const makeDice = (seed: number): Dice => {
  let state = seed >>> 0
  const roll = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between = (least: number, most: number) => least + Math.floor(roll() * (most - least + 1))
  return {
    roll,
    between,
    pick: (items) => items[between(0, items.length - 1)]!,
    shuffle: (items) =>
      items
        .map((item) => ({ item, place: roll() }))
        .sort((left, right) => left.place - right.place)
        .map(({ item }) => item),
    of: (name) => makeDice(hash(`${seed}/${name}`)),
  }
}
