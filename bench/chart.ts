import { machineLine } from "./machine.js";
import { conditionsOf, figure, type Results } from "./report.js";

/**
 * Every goal as a bar: how far the median lies on the good side of its bound (right) or on the bad one (left), as a
 * factor on a logarithmic scale. Bars of different goals can be compared that way, whatever they measure.
 */
const WIDTH = 960;
const ROW = 22;
const LINE = 18;
const TOP = 44;
const MIDDLE = 690;
const REACH = 230;
/** The factor at which a bar is as long as it gets. */
const LONGEST = 4;

export function chartOf(results: Results): string {
  const { sections } = results;
  const conditions = [...sections.slice(-1).map(({ machine }) => machineLine(machine)), ...sections.map(conditionsOf)];
  const top = TOP + conditions.length * LINE;
  const height = top + results.goals.length * ROW + 44;
  const rows = results.goals.map(({ measure, bound, measured, held }, i) => {
    const limit = Number(bound.split(" ").at(-1));
    const factor = goodness(measured.median, limit, bound.startsWith("at least"));
    const length = (Math.min(Math.abs(Math.log(factor)), Math.log(LONGEST)) / Math.log(LONGEST)) * REACH;
    const y = top + i * ROW;
    const x = held ? MIDDLE : MIDDLE - length;
    return [
      `<text x="12" y="${y + 14}">${escaped(measure)}</text>`,
      `<text x="${MIDDLE - REACH - 12}" y="${y + 14}" text-anchor="end">${figure(measured.median)} (${escaped(bound)})</text>`,
      `<rect x="${x.toFixed(1)}" y="${y + 3}" width="${Math.max(1, length).toFixed(1)}" height="${ROW - 7}" fill="${held ? "#2b8a3e" : "#c92a2a"}"/>`,
    ].join("\n");
  });
  const missed = results.goals.filter(({ held }) => !held).length;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<title>What sessionferry measured beside its goals</title>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="12" y="24" font-size="16">sessionferry: ${results.goals.length - missed} goals held, ${missed} missed</text>
${conditions.map((line, i) => `<text x="12" y="${TOP + i * LINE}" fill="#555">${escaped(line)}</text>`).join("\n")}
${rows.join("\n")}
<line x1="${MIDDLE}" y1="${top - 6}" x2="${MIDDLE}" y2="${height - 32}" stroke="#333"/>
<text x="${MIDDLE}" y="${height - 14}" text-anchor="middle" fill="#555">worse than the goal | better, up to a factor of ${LONGEST}</text>
</svg>
`;
}

/** Above 1 where the goal is held. Next to zero, where there are no factors, a bar is simply long. */
function goodness(value: number, limit: number, atLeast: boolean): number {
  const floor = 1e-6;
  const factor = Math.max(value, floor) / Math.max(limit, floor);
  return atLeast ? factor : 1 / factor;
}

function escaped(text: string): string {
  return text.replace(/[&<>]/g, (letter) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[letter]!);
}
