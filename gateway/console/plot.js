// Where the shapes of a chart stand: numbers in, coordinates out.

/**
 * @param {{calls: number, errors: number}[]} series @param {number} width @param {number} height
 * @returns {{x: number, width: number, height: number, failed: number}[]}
 */
export function bars(series, width, height) {
  const most = Math.max(1, ...series.map((row) => row.calls));
  const step = width / Math.max(1, series.length);
  return series.map((row, at) => ({
    x: round(at * step),
    width: round(Math.max(1, step * 0.8)),
    height: round((row.calls / most) * height),
    failed: round((row.errors / most) * height),
  }));
}

/**
 * Runs of points without a gap in them; the lowest value stands at the foot of the chart when it is 0.
 * @param {(number | null)[]} values @param {number} width @param {number} height @returns {[number, number][][]}
 */
export function points(values, width, height) {
  const most = Math.max(1, ...values.filter((value) => value !== null));
  const step = width / Math.max(1, values.length);
  const runs = /** @type {[number, number][][]} */ ([[]]);
  for (const [at, value] of values.entries()) {
    if (value === null) runs.push([]);
    else runs.at(-1)?.push([round((at + 0.5) * step), round(height - (value / most) * (height - 4) - 2)]);
  }
  return runs.filter((run) => run.length);
}

const round = (value) => Math.round(value * 100) / 100;
