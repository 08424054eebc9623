/** Locations of a store's objects (what Iceberg metadata holds) and their keys, by the prefix that all of them have. */
export const locationsBelow = (root: string) => ({
  root,
  locationOf: (key: string): string => root + key,
  keyOf: (location: string): string => {
    if (!location.startsWith(root)) throw new RangeError(`"${location}" does not lie in the object store ${root}.`)
    return location.slice(root.length)
  },
})
