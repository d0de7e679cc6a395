// Variables of a dashboard, questions to Prometheus, and the frames that Grafana's Prometheus data source makes of answers.

import { dateMath, dateTimeParse, FieldType, rangeUtil, toDataFrame } from "@grafana/data";

// Of the data source: how often is scraped. $__rate_interval is four of them.
const SCRAPE = 30;
export const ALL = "$__all";
const VARIABLE = /\$\{(\w+)(?::(\w+))?\}|\$(\w+)/g;

export async function ask(path, parameters) {
  const answer = await fetch(`/prometheus/api/v1/${path}`, { method: "POST", body: new URLSearchParams(parameters) });
  const found = await answer.json().catch(() => ({ error: `Prometheus answered ${answer.status}` }));
  if (found.status !== "success") {
    throw new Error(found.error);
  }
  return found.data;
}

export function timeRange(from, to) {
  const raw = (text, end) => (/^\d+$/.test(text) ? dateTimeParse(Number(text)) : dateMath.toDateTime(text, { roundUp: end }));
  return { from: raw(from, false), to: raw(to, true), raw: { from, to } };
}

// A range that ends at the same time and lasts as long as a panel wants ("24h").
export function shortened(range, last) {
  return { ...range, from: range.to.clone().subtract(rangeUtil.intervalToMs(last), "ms") };
}

const escaped = (text) => text.replace(/\\/g, "\\\\").replace(/[$^*{}[\]'+?.()|]/g, "\\\\$&").replace(/"/g, '\\"');

// What a variable is in an expression: Grafana's format of it for Prometheus.
function written(variable) {
  const { value, multi, includeAll, allValue } = variable;
  if (includeAll && (value === ALL || (Array.isArray(value) && value.includes(ALL)))) {
    return allValue || `(${variable.values.map(escaped).join("|")})`;
  }
  if (!multi && !includeAll) {
    return String(value).replace(/\\/g, "\\\\").replace(/"/g, '\\"');
  }
  const several = [value].flat().map(escaped);
  return several.length === 1 ? several[0] : `(${several.join("|")})`;
}

export function filled(text, variables, more = {}, format = written) {
  return text.replace(VARIABLE, (whole, braced, _, plain) => {
    const name = braced ?? plain;
    const variable = variables.find((one) => one.name === name);
    return name in more ? more[name] : variable ? format(variable) : whole;
  });
}

const shown = ({ value }) => (value === ALL ? "All" : [value].flat().join(" + "));
export const title = (text, variables) => filled(text, variables, {}, shown);

// The variables with their values: those of the address, else what the dashboard begins with.
export async function variablesOf(board, search, range) {
  const found = [];
  for (const one of board.templating.list) {
    const values = await valuesOf(one, found, range);
    const given = search.getAll(`var-${one.name}`).map((value) => (value === "All" ? ALL : value));
    found.push({ ...one, values, value: chosen(one, values, given) });
  }
  return found;
}

function chosen(variable, values, given) {
  if (given.length) {
    return variable.multi ? given : given[0];
  }
  if (variable.type === "textbox") {
    return variable.query ?? "";
  }
  return variable.includeAll ? ALL : (values[0] ?? "");
}

async function valuesOf(variable, before, range) {
  if (variable.type === "datasource") {
    return ["prometheus"];
  }
  if (variable.type === "custom") {
    return variable.query.split(",");
  }
  if (variable.type !== "query") {
    return [];
  }
  const query = typeof variable.query === "string" ? variable.query : variable.query.query;
  const [, metric, label] = /^label_values\((.+), *(\w+)\)$/s.exec(query);
  const times = { start: range.from.unix(), end: range.to.unix() };
  const series = await ask("series", { "match[]": filled(metric, before), ...times });
  const names = [...new Set(series.map((one) => one[label]).filter(Boolean))];
  return names.sort((one, two) => one.localeCompare(two, "en", { numeric: true }));
}

// All answers to a panel's questions, as frames. `points`: how many of a line fit.
export async function answers(panel, variables, range, points) {
  const span = panel.timeFrom ? shortened(range, panel.timeFrom) : range;
  const least = panel.interval ?? `${SCRAPE}s`;
  const step = rangeUtil.calculateInterval(span, panel.maxDataPoints ?? points, least).intervalMs / 1000;
  const own = {
    __interval: `${step}s`,
    __rate_interval: `${Math.max(step + SCRAPE, 4 * SCRAPE)}s`,
    __range: `${Math.round(span.to.diff(span.from) / 1000)}s`,
  };
  const several = panel.targets.length > 1;
  const every = await Promise.all(panel.targets.map((target) => one(target, filled(target.expr, variables, own))));
  return every.flat();

  async function one(target, query) {
    if (target.instant) {
      const { result } = await ask("query", { query, time: span.to.unix() });
      const rows = result.map((row) => ({ metric: row.metric, values: [row.value] }));
      return target.format === "table" ? table(target, rows, several) : rows.map((row) => series(target, row));
    }
    const edge = (time) => Math.floor(time.unix() / step) * step;
    const { result } = await ask("query_range", { query, start: edge(span.from), end: edge(span.to), step });
    return result.map((row) => series(target, row, step * 1000));
  }
}

function legend(format, labels) {
  return format ? format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => labels[name] ?? "") : undefined;
}

const number = (text) => (text === "NaN" ? null : Number(text.replace("Inf", "Infinity")));

function series(target, { metric, values }, interval) {
  const name = legend(target.legendFormat, metric);
  return toDataFrame({
    refId: target.refId,
    fields: [
      // Where a sample is missing for longer than this, the line has a gap.
      { name: "Time", type: FieldType.time, values: values.map(([time]) => time * 1000), config: { interval } },
      {
        name: "Value",
        type: FieldType.number,
        labels: metric,
        values: values.map(([, value]) => number(value)),
        config: { displayNameFromDS: name },
      },
    ],
  });
}

function table(target, rows, several) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.metric)))].sort();
  const column = (name, type, values) => ({ name, type, values, config: {} });
  const value = several ? `Value #${target.refId}` : "Value";
  return [
    toDataFrame({
      refId: target.refId,
      fields: [
        column("Time", FieldType.time, rows.map((row) => row.values[0][0] * 1000)),
        ...names.map((name) => column(name, FieldType.string, rows.map((row) => row.metric[name] ?? ""))),
        column(value, FieldType.number, rows.map((row) => number(row.values[0][1]))),
      ],
    }),
  ];
}
