// The models of /v1/models as the pages show them, and which of them a search means.

/**
 * @typedef {{id: string, provider: string, family: string, context: number | null, output: number | null,
 *   input: number | null, tags: string[], tier: string | null}} ModelRow prices in USD for a million tokens, null: unknown
 */

/** @param {any} entry of /v1/models @returns {ModelRow} */
export function modelRow(entry) {
  const known = Object(entry.x_saferouter);
  return {
    id: String(entry.id),
    provider: known.provider ?? entry.owned_by ?? "unknown",
    family: known.family ?? "",
    context: known.context_window ?? null,
    input: known.input_usd_per_million ?? null,
    output: known.output_usd_per_million ?? null,
    tags: [...(known.modalities ?? []), ...(known.capabilities ?? [])].map(String),
    tier: known.tier ?? null,
  };
}

/** Those whose words hold every word of `search`, of one provider unless that is "". @param {ModelRow[]} rows @param {string} search @param {string} provider */
export function matching(rows, search, provider) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => {
    const text = [row.id, row.provider, row.family, row.tier ?? "", ...row.tags].join(" ").toLowerCase();
    return (!provider || row.provider === provider) && words.every((word) => text.includes(word));
  });
}

const ORDERS = {
  name: (row) => row.id,
  price: (row) => (row.input === null ? Number.POSITIVE_INFINITY : row.input + (row.output ?? 0)),
  context: (row) => -(row.context ?? 0),
};

/** @param {ModelRow[]} rows @param {keyof typeof ORDERS} by */
export function ordered(rows, by) {
  const key = ORDERS[by];
  return [...rows].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a.id < b.id ? -1 : 1));
}

export const MAX_COLUMNS = 4;
export const MIN_COLUMNS = 2;

/** The columns' models as kept, without those that are gone, and at least two. @param {unknown} kept @param {string[]} known ids */
export function columnsOf(kept, known) {
  const still = (Array.isArray(kept) ? kept : []).filter((id) => known.includes(id)).slice(0, MAX_COLUMNS);
  const others = known.filter((id) => !still.includes(id));
  while (still.length < MIN_COLUMNS && known.length) still.push(others.shift() ?? known[0]);
  return still;
}
