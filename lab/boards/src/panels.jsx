// Draws a panel's data: with @grafana/ui what it has; heat maps and state timelines are in simple.jsx.

import { FieldType, renderTextPanelMarkdown, VizOrientation } from "@grafana/data";
import { BarGauge, BigValue, TimeSeries, TooltipPlugin, VizRepeater } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";

import { numbers } from "./frames.js";
import { HeatMap, StateTimeline } from "./simple.jsx";

const KINDS = {
  timeseries: Lines,
  stat: Numbers,
  bargauge: Bars,
  table: Table,
  heatmap: HeatMap,
  "state-timeline": StateTimeline,
};

export function Drawing(props) {
  const { panel, data, width, height } = props;
  const Kind = KINDS[panel.type];
  if (!Kind) {
    throw new Error(`this page cannot draw a panel of the type ${panel.type}`);
  }
  const empty = data.every((frame) => frame.length === 0);
  if (empty && panel.type !== "stat") {
    return <div style={{ width, height, display: "grid", placeItems: "center" }}>{panel.fieldConfig.defaults.noValue}</div>;
  }
  return <Kind {...props} />;
}

export function Words({ panel }) {
  const html = { __html: renderTextPanelMarkdown(panel.options.content) };
  return <div className="markdown-html" dangerouslySetInnerHTML={html} />;
}

function Lines({ panel, data, range, width, height }) {
  const { legend, tooltip } = panel.options;
  return (
    <TimeSeries {...{ width, height, legend }} frames={data} timeRange={range} timeZone="browser">
      {(config, aligned) => (
        <TooltipPlugin
          {...{ config, frames: data, data: aligned, timeZone: "browser" }}
          mode={tooltip?.mode}
          sortOrder={tooltip?.sort}
        />
      )}
    </TimeSeries>
  );
}

function Numbers({ panel, data, replaceVariables, theme, width, height }) {
  const values = () => numbers(panel, data, replaceVariables, theme);
  const draw = ({ value, width, height, count }) => (
    <BigValue
      {...{ width, height, theme, count, value: value.display }}
      colorMode={panel.options.colorMode}
      graphMode={panel.options.graphMode}
      textMode={panel.options.textMode}
      justifyMode="auto"
      text={panel.options.text}
    />
  );
  return (
    <VizRepeater {...{ width, height, source: data, getValues: values, renderValue: draw, renderCounter: 0 }} autoGrid orientation={VizOrientation.Auto} />
  );
}

function Bars({ panel, data, replaceVariables, theme, width, height }) {
  const values = () => numbers(panel, data, replaceVariables, theme);
  const draw = ({ value, width, height }) => (
    <BarGauge
      {...{ width, height, theme, value: value.display, field: value.field, display: value.view?.getFieldDisplayProcessor(value.colIndex) }}
      orientation={VizOrientation.Horizontal}
      displayMode={panel.options.displayMode}
      text={panel.options.text}
      showUnfilled
    />
  );
  return (
    <VizRepeater {...{ width, height, source: data, getValues: values, renderValue: draw, renderCounter: 0 }} orientation={VizOrientation.Horizontal} itemSpacing={8} minVizHeight={16} maxVizHeight={60} />
  );
}

function Table({ panel, data, range, width, height }) {
  const [frame] = data.filter((one) => one.fields.some((field) => field.type !== FieldType.time));
  return (
    <TableNG
      {...{ width, height, data: frame, timeRange: range, fieldConfig: panel.fieldConfig }}
      sortBy={panel.options.sortBy}
      cellHeight={panel.options.cellHeight}
      noHeader={!panel.options.showHeader}
      enableVirtualization={false}
      structureRev={1}
    />
  );
}
