/** Words that lock or change something, wherever they stand. */
const changing =
  /\b(insert|update|delete|merge|truncate|call|do|copy|lock|listen|unlisten|notify|set|reset|create|alter|drop|grant|share)\b/i

/** What may stand before a parenthesis in a statement that only reads: syntax, and functions without an effect. */
const harmless = new Set(
  (
    "in any all some exists values as and or not on from select where union except intersect using by over then else when case " +
    "filter within distinct having limit lateral materialized row array is between like " +
    "count sum min max avg coalesce greatest least nullif now extract cast lower upper length substring concat " +
    "array_agg jsonb_agg json_agg jsonb_build_object to_jsonb jsonb_array_elements jsonb_array_elements_text " +
    "jsonb_to_recordset jsonb_each unnest row_number rank lag lead date_trunc to_timestamp make_interval hashtext " +
    "starts_with generate_series string_agg bool_and bool_or cardinality array_length current_database"
  ).split(" "),
)

/**
 * Whether a statement may be sent a second time after its answer was lost: it reads, takes no lock, and calls no function
 * that is not known to do nothing else. What is not sure counts as no.
 */
export const isRepeatable = (sql: string): boolean => {
  if (!/^\s*(select|with|values|table)\b/i.test(sql) || changing.test(sql)) return false
  for (const [, name] of sql.matchAll(/([a-z_][a-z0-9_]*)"?\s*\(/gi)) {
    if (!harmless.has(name!.toLowerCase())) return false
  }
  return true
}
