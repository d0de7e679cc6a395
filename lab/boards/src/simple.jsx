// Heat maps and state timelines, which @grafana/ui does not have: drawn by this page itself, as simply as they can be read.

import { FieldType, formattedValueToString, getDisplayProcessor, getFieldDisplayName, dateTimeFormat } from "@grafana/data";
import { VizLegend } from "@grafana/ui";
import { interpolateOranges } from "d3-scale-chromatic";

const LEFT = 62;
const BELOW = 20;
const LEGEND = 28;
const TICKS = 6;

function Times({ range, width, top, left, theme }) {
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const format = to - from > 86400000 ? "MM/DD HH:mm" : "HH:mm";
  const ticks = Array.from({ length: TICKS }, (_, index) => (index + 0.5) / TICKS);
  return ticks.map((share) => (
    <text key={share} x={left + share * (width - left)} y={top + 14} textAnchor="middle" fontSize="12" fill={theme.colors.text.primary}>
      {dateTimeFormat(from + share * (to - from), { format, timeZone: "browser" })}
    </text>
  ));
}

const bound = (field) => (field.labels.le === "+Inf" ? Infinity : Number(field.labels.le));

// Buckets count all that is below their bound: what is in a row of cells is the difference to the row below.
function buckets(data) {
  const fields = data.map((frame) => [frame.fields[0], frame.fields.find((one) => one.type === FieldType.number)]);
  fields.sort(([, one], [, two]) => bound(one) - bound(two));
  let below = new Map();
  return fields.map(([time, field]) => {
    const here = new Map(time.values.map((at, index) => [at, field.values[index]]));
    const cells = [...here].map(([at, value]) => [at, Math.max(0, value - (below.get(at) ?? 0))]);
    below = here;
    return { top: bound(field), step: time.config.interval, cells };
  });
}

export function HeatMap({ panel, data, range, theme, width, height }) {
  const rows = buckets(data);
  const unit = panel.options.yAxis.unit;
  const print = getDisplayProcessor({ field: { type: FieldType.number, config: { unit } }, theme });
  const text = (value) => (value === Infinity ? "more" : formattedValueToString(print(value)));
  const most = Math.max(1, ...rows.flatMap((row) => row.cells.map(([, value]) => value)));
  const shade = (value) => interpolateOranges(theme.isDark ? 1 - 0.9 * (value / most) ** 0.5 : 0.1 + 0.9 * (value / most) ** 0.5);
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const tall = (height - BELOW - LEGEND) / rows.length;
  const x = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT);
  const cells = rows.flatMap((row, index) =>
    row.cells
      .filter(([at, value]) => value > 0 && at >= from)
      .map(([at, value]) => (
        <rect key={`${index} ${at}`} x={x(at - row.step)} y={(rows.length - 1 - index) * tall} width={Math.max(0.5, x(at) - x(at - row.step))} height={Math.max(0.5, tall - 1)} fill={shade(value)}>
          <title>{`up to ${text(row.top)}: ${value}`}</title>
        </rect>
      )),
  );
  const names = rows.map((row, index) => (
    <text key={index} x={LEFT - 6} y={(rows.length - 1 - index) * tall + tall / 2 + 4} textAnchor="end" fontSize="12" fill={theme.colors.text.primary}>
      {text(row.top)}
    </text>
  ));
  const scale = Array.from({ length: 40 }, (_, index) => (
    <rect key={index} x={LEFT + index * 4} y={height - LEGEND + 10} width={4} height={8} fill={shade(((index + 1) / 40) * most)} />
  ));
  return (
    <svg {...{ width, height }}>
      {cells}
      {names}
      <Times {...{ range, width, theme }} left={LEFT} top={height - BELOW - LEGEND} />
      {scale}
      <text x={LEFT + 168} y={height - LEGEND + 18} fontSize="12" fill={theme.colors.text.secondary}>{`1 to ${most} GPUs`}</text>
    </svg>
  );
}

// Neighbouring samples of one value are one bar.
function stretches(time, field) {
  const found = [];
  const step = time.config.interval;
  time.values.forEach((at, index) => {
    const value = field.values[index];
    const last = found.at(-1);
    if (last && last.value === value && at - last.to <= step) {
      last.to = at + step;
    } else {
      found.push({ value, from: at, to: at + step });
    }
  });
  return found;
}

export function StateTimeline({ data, range, theme, width, height }) {
  const rows = data.map((frame) => ({ frame, field: frame.fields.find((one) => one.type === FieldType.number) }));
  const names = rows.map(({ frame, field }) => getFieldDisplayName(field, frame, data));
  const left = Math.min(width / 3, 12 + 8.5 * Math.max(...names.map((name) => name.length)));
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const tall = (height - BELOW - LEGEND) / rows.length;
  const x = (time) => left + ((Math.min(Math.max(time, from), to) - from) / (to - from)) * (width - left);
  const told = new Map();
  const bars = rows.flatMap(({ frame, field }, index) =>
    stretches(frame.fields[0], field).map((one) => {
      const display = field.display(one.value);
      told.set(formattedValueToString(display), display.color);
      return <rect key={`${index} ${one.from}`} x={x(one.from)} y={index * tall + tall * 0.1} width={Math.max(1, x(one.to) - x(one.from))} height={tall * 0.8} fill={display.color} />;
    }),
  );
  const items = [...told].map(([label, color]) => ({ label, color, yAxis: 1 }));
  return (
    <>
      <svg width={width} height={height - LEGEND}>
        {bars}
        {names.map((name, index) => (
          <text key={name} x={left - 6} y={index * tall + tall / 2 + 4} textAnchor="end" fontSize="12" fill={theme.colors.text.primary}>
            {name}
          </text>
        ))}
        <Times {...{ range, width, left, theme }} top={height - BELOW - LEGEND} />
      </svg>
      <div style={{ height: LEGEND }}>
        <VizLegend items={items} placement="bottom" displayMode="list" />
      </div>
    </>
  );
}
