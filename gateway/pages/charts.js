/** Small charts as SVG elements; their colours are classes of evaluations.css. */

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with attributes, then children. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const WIDTH = 200;
const EDGE = 6; // room for a dot at 0 and at 1

/** Means with their intervals on a line from 0 to 1: `rows` of {value, low, high, kind}, kind live, now or worse. */
export function whiskers(rows, label) {
  const x = (share) => EDGE + share * (WIDTH - 2 * EDGE);
  const height = 8 + rows.length * 14;
  return svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label },
    ...rows.flatMap((row, n) => {
      const y = 11 + n * 14;
      return [
        svg("line", { class: "axis", x1: x(0), x2: x(1), y1: y, y2: y }),
        svg("line", { class: `interval ${row.kind}`, x1: x(row.low), x2: x(row.high), y1: y, y2: y }),
        svg("circle", { class: row.kind, cx: x(row.value), cy: y, r: 4.5 }),
      ];
    }));
}

/** Thick up to the median and thin up to the 95th percentile, of `longest` milliseconds. */
export function times(rows, longest, label) {
  const x = (millis) => (millis / longest) * WIDTH;
  return svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${4 + rows.length * 8}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    ...rows.flatMap((row, n) => {
      const y = 6 + n * 8;
      return [
        svg("line", { class: `tail ${row.kind}`, x1: 0, x2: x(row.p95), y1: y, y2: y }),
        svg("line", { class: `bar ${row.kind}`, x1: 0, x2: x(row.p50), y1: y, y2: y }),
      ];
    }));
}

/** Bars from 0 to 1, one below the other. */
export function bars(rows, label) {
  return svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${rows.length * 10}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    ...rows.flatMap((row, n) => [
      svg("line", { class: "axis bar", x1: 0, x2: WIDTH, y1: 5 + n * 10, y2: 5 + n * 10 }),
      svg("line", { class: `bar ${row.kind}`, x1: 0, x2: WIDTH * row.value, y1: 5 + n * 10, y2: 5 + n * 10 }),
    ]));
}
