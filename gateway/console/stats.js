// Sums over rows of activity: what the filters leave is summed up here, by the words of /v1/activity/summary.

/**
 * The smallest value that at least `share` of all do not exceed (nearest rank); null of nothing.
 * @param {number[]} values @param {number} share between 0 and 1
 */
export function percentile(values, share) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** Whether an attempt succeeded: its status is an HTTP status. @param {{status: number}} row */
export const succeeded = (row) => row.status >= 200 && row.status < 300;

/**
 * The same members that the gateway's own summary has.
 * @param {any[]} rows
 */
export function summarise(rows) {
  return { ...figures(rows), by_model: grouped(rows, "model"), by_provider: grouped(rows, "provider") };
}

/** @param {any[]} rows */
function figures(rows) {
  const times = rows.map((row) => row.milliseconds).filter((value) => typeof value === "number");
  return {
    calls: rows.length,
    success_rate: rows.length ? rows.filter(succeeded).length / rows.length : null,
    p50_ms: percentile(times, 0.5),
    p95_ms: percentile(times, 0.95),
  };
}

/** @param {any[]} rows @param {"model" | "provider"} name */
function grouped(rows, name) {
  const groups = new Map();
  for (const row of rows) {
    const key = row[name] ?? "none";
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups]
    .map(([key, group]) => ({ name: key, ...figures(group), usd: total(group) }))
    .sort((a, b) => b.calls - a.calls);
}

/** What a group cost; unknown as soon as one of its costs is. @param {any[]} rows */
function total(rows) {
  const costs = rows.map((row) => row.cost_usd);
  return costs.some((cost) => typeof cost !== "number") ? null : costs.reduce((sum, cost) => sum + cost, 0);
}
