// Does with answers of Prometheus what Grafana does before it draws: transformations, overrides, reducers, printed text.
// Input and output are JSON. Frames are made as Grafana's Prometheus data source makes them; the rest is @grafana/data.

globalThis.navigator ??= { language: "en-US", languages: ["en-US"], platform: "", userAgent: "" };
const { firstValueFrom } = require("rxjs");
const g = require("@grafana/data");
// Not before: a library of its takes a window for a browser.
globalThis.window = globalThis;

const same = (process) => process ?? ((value) => value);
const property = (id, process, custom = false) => ({
  id,
  path: id.replace("custom.", ""),
  name: id,
  isCustom: custom,
  process: same(process),
  shouldApply: () => true,
});
const registry = new g.FieldConfigOptionsRegistry(() => [
  property("unit", g.unitOverrideProcessor),
  property("min", g.numberOverrideProcessor),
  property("max", g.numberOverrideProcessor),
  property("decimals", g.numberOverrideProcessor),
  property("displayName", g.displayNameOverrideProcessor),
  property("noValue", g.stringOverrideProcessor),
  property("thresholds", g.thresholdsOverrideProcessor),
  property("mappings", g.valueMappingsOverrideProcessor),
  property("links", g.dataLinksOverrideProcessor),
  property("custom.cellOptions", undefined, true),
]);
// They are there already; the registry is filled by Grafana's front end.
const { mergeTransformer, organizeFieldsTransformer } = g.standardTransformers;
g.standardTransformersRegistry.setInit(() =>
  [mergeTransformer, organizeFieldsTransformer].map((one) => ({ ...one, transformation: async () => one })),
);
const theme = g.createTheme();

function legend(format, labels) {
  return format ? format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => labels[name] ?? "") : undefined;
}

function table(letter, rows, several) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.metric)))].sort();
  const column = (name, type, values) => ({ name, type, values, config: {} });
  return [
    g.toDataFrame({
      refId: letter,
      fields: [
        column("Time", g.FieldType.time, rows.map((row) => row.values[0][0] * 1000)),
        ...names.map((name) => column(name, g.FieldType.string, rows.map((row) => row.metric[name] ?? ""))),
        column(several ? `Value #${letter}` : "Value", g.FieldType.number, rows.map((row) => Number(row.values[0][1]))),
      ],
    }),
  ];
}

function series(letter, rows, format) {
  return rows.map((row) =>
    g.toDataFrame({
      refId: letter,
      fields: [
        { name: "Time", type: g.FieldType.time, values: row.values.map(([time]) => time * 1000), config: {} },
        {
          name: "Value",
          type: g.FieldType.number,
          labels: row.metric,
          values: row.values.map(([, value]) => Number(value)),
          config: { displayNameFromDS: legend(format, row.metric) },
        },
      ],
    }),
  );
}

function frames(panel, answers) {
  const several = panel.targets.length > 1;
  return panel.targets.flatMap((target) =>
    target.format === "table"
      ? table(target.refId, answers[target.refId], several)
      : series(target.refId, answers[target.refId], target.legendFormat),
  );
}

// What Grafana's front end does with ${__data.fields["name"]} and ${__field.labels.name} of a link.
function replace(text, scoped) {
  const { frame, field, rowIndex } = scoped?.__dataContext?.value ?? {};
  return text.replace(/\$\{__data\.fields\["(\w+)"\]\}/g, (_, name) => {
    const found = frame?.fields.find((one) => one.name === name);
    return found ? String(found.values[rowIndex]) : `MISSING ${name}`;
  }).replace(/\$\{__field\.labels\.(\w+)\}/g, (_, name) => field?.labels?.[name] ?? `MISSING ${name}`);
}

const printed = (field, value) => g.formattedValueToString(field.display(value));

async function arranged({ panel, answers }) {
  let data = frames(panel, answers);
  if (panel.transformations) {
    data = await firstValueFrom(g.transformDataFrame(panel.transformations, data));
  }
  const options = { fieldConfig: panel.fieldConfig, replaceVariables: replace, theme, timeZone: "utc" };
  data = g.applyFieldOverrides({ ...options, data, fieldConfigRegistry: registry });
  const found = { frames: data.map((frame) => shown(frame, data)) };
  if (panel.options?.reduceOptions) {
    const values = g.getFieldDisplayValues({ ...options, data, reduceOptions: panel.options.reduceOptions });
    found.values = values.map((one) => ({ title: one.display.title, text: g.formattedValueToString(one.display) }));
  }
  return found;
}

function shown(frame, data) {
  return frame.fields.map((field) => ({
    name: g.getFieldDisplayName(field, frame, data),
    texts: field.values.map((value) => printed(field, value)),
    // A time has no labels; what is clicked on is a value.
    links: field.config.links?.length && field.type !== g.FieldType.time ? field.values.map((_, rowIndex) => linked(frame, field, rowIndex)) : [],
    means: field.type === g.FieldType.number ? g.reduceField({ field, reducers: ["sum", "mean", "max"] }) : null,
  }));
}

const linked = (frame, field, rowIndex) =>
  replace(field.config.links[0].url, { __dataContext: { value: { frame, field, rowIndex } } });

async function main() {
  const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const units = new Set(g.getValueFormats().flatMap((kind) => kind.submenu.map((one) => one.value)));
  const text = ({ unit, decimals, value }) => g.formattedValueToString(g.getValueFormat(unit)(value, decimals));
  process.stdout.write(
    JSON.stringify({
      unknown: input.units.filter((unit) => !units.has(unit)),
      texts: input.samples.map(text),
      panels: await Promise.all(input.panels.map(arranged)),
    }),
  );
}

main();
