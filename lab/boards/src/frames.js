// What Grafana does with frames before it draws them: transformations, units, thresholds, words, links.

import {
  applyFieldOverrides,
  booleanOverrideProcessor,
  cacheFieldDisplayNames,
  createTheme,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  FieldColorModeId,
  FieldConfigOptionsRegistry,
  getFieldDisplayValues,
  numberOverrideProcessor,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  transformDataFrame,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from "@grafana/data";
import { firstValueFrom } from "rxjs";

import { filled } from "./query.js";

// Without a property here Grafana's code drops it from the fields, and says nothing.
const STANDARD = {
  unit: unitOverrideProcessor,
  min: numberOverrideProcessor,
  max: numberOverrideProcessor,
  decimals: numberOverrideProcessor,
  displayName: displayNameOverrideProcessor,
  noValue: stringOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  links: dataLinksOverrideProcessor,
  color: undefined,
  filterable: booleanOverrideProcessor,
};
const CUSTOM = [
  ...["drawStyle", "lineInterpolation", "lineWidth", "lineStyle", "fillOpacity", "gradientMode", "spanNulls"],
  ...["insertNulls", "showPoints", "pointSize", "stacking", "barAlignment", "barWidthFactor", "barMaxWidth", "hideFrom"],
  ...["axisPlacement", "axisLabel", "axisColorMode", "axisBorderShow", "axisCenteredZero", "axisGridShow"],
  ...["axisSoftMin", "axisSoftMax", "axisWidth", "scaleDistribution", "thresholdsStyle"],
  ...["cellOptions", "align", "width", "minWidth", "inspect"],
];
// What Grafana's panels give a field that does not say otherwise.
const COLOURS = { stat: "thresholds", bargauge: "thresholds", table: "thresholds", "state-timeline": "thresholds" };
const CELLS = { align: "auto", cellOptions: { type: "auto" }, inspect: false };

const property = (id, process, custom) => ({
  id: custom ? `custom.${id}` : id,
  path: id,
  name: id,
  isCustom: custom,
  process: process ?? ((value) => value),
  shouldApply: () => true,
});
const registry = new FieldConfigOptionsRegistry(() => [
  ...Object.entries(STANDARD).map(([id, process]) => property(id, process, false)),
  ...CUSTOM.map((id) => property(id, undefined, true)),
]);
const { mergeTransformer, organizeFieldsTransformer } = standardTransformers;
standardTransformersRegistry.setInit(() =>
  [mergeTransformer, organizeFieldsTransformer].map((one) => ({ ...one, transformation: async () => one })),
);
standardFieldConfigEditorRegistry.setInit(() => []);

export const dark = (search) =>
  (search.get("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
export const themeOf = (search) => createTheme({ colors: { mode: dark(search) ? "dark" : "light" } });

// Fills in the variables of links, and what stands for the cell or line that is clicked on.
export function replacing(variables, range) {
  const time = new URLSearchParams({ from: range.raw.from, to: range.raw.to }).toString();
  const plain = ({ value }) => [value].flat().map(encodeURIComponent).join(",");
  return (text, scoped) => {
    const { frame, field, rowIndex } = scoped?.__dataContext?.value ?? {};
    const cell = (name) => frame?.fields.find((one) => one.name === name)?.values[rowIndex] ?? "";
    const there = text
      .replace(/\$\{__data\.fields\["(\w+)"\]\}/g, (_, name) => encodeURIComponent(cell(name)))
      .replace(/\$\{__field\.labels\.(\w+)\}/g, (_, name) => encodeURIComponent(field?.labels?.[name] ?? ""));
    return filled(there, variables, { __url_time_range: time }, plain);
  };
}

export async function arranged(panel, frames, replaceVariables, theme) {
  const data = panel.transformations
    ? await firstValueFrom(transformDataFrame(panel.transformations, frames))
    : frames;
  const { defaults, overrides } = panel.fieldConfig;
  const mode = COLOURS[panel.type] ?? FieldColorModeId.PaletteClassic;
  const custom = panel.type === "table" ? { ...CELLS, ...defaults.custom } : defaults.custom;
  const fieldConfig = { defaults: { color: { mode }, ...defaults, custom }, overrides };
  const found = applyFieldOverrides({
    ...{ data, fieldConfig, replaceVariables, theme, timeZone: "browser" },
    fieldConfigRegistry: registry,
  });
  // Tables read their headings there.
  cacheFieldDisplayNames(found);
  return found;
}

// The numbers of a panel of one number, or of bars.
export function numbers(panel, data, replaceVariables, theme) {
  const { defaults, overrides } = panel.fieldConfig;
  const fieldConfig = { defaults: { color: { mode: "thresholds" }, ...defaults }, overrides };
  const { reduceOptions } = panel.options;
  return getFieldDisplayValues({ ...{ fieldConfig, reduceOptions, replaceVariables, theme, data }, timeZone: "browser" });
}
