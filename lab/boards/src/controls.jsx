// What stands above the panels: what this is, the other dashboards, variables, time. A choice is an address that is opened.

import { rangeUtil } from "@grafana/data";
import { Button, Combobox, Input, LinkButton, MultiCombobox } from "@grafana/ui";

import { dark } from "./frames.js";
import { ALL } from "./query.js";

const search = new URLSearchParams(location.search);
const TIMES = ["15m", "1h", "3h", "6h", "12h", "24h", "2d", "7d", "30d"];

function open(changes, path = location.pathname) {
  const wanted = new URLSearchParams(search);
  for (const [name, value] of Object.entries(changes)) {
    wanted.delete(name);
    [value].flat().forEach((one) => wanted.append(name, one));
  }
  location.assign(`${path}?${wanted}`);
}

function Choice({ variable }) {
  const { name, label, values, value, multi, includeAll, type } = variable;
  const choose = (found) => open({ [`var-${name}`]: found });
  if (type === "textbox") {
    const typed = (event) => event.key === "Enter" && choose(event.currentTarget.value);
    return <Input id={name} width={14} prefix={label} defaultValue={value} onKeyDown={typed} onBlur={(event) => event.currentTarget.value !== value && choose(event.currentTarget.value)} />;
  }
  const options = [...(includeAll ? [{ value: ALL, label: "All" }] : []), ...values.map((one) => ({ value: one, label: one }))];
  if (type === "datasource") {
    return <Combobox id={name} width="auto" minWidth={14} options={[{ value: "prometheus", label: "Prometheus" }]} value="prometheus" onChange={() => {}} disabled />;
  }
  if (!multi) {
    return <Combobox id={name} width="auto" minWidth={10} options={options} value={value} onChange={(one) => choose(one.value)} />;
  }
  // Who chooses something else no longer wants all.
  const several = (found) => {
    const names = found.map((one) => one.value);
    choose(names.at(-1) === ALL || names.length === 0 ? ALL : names.filter((one) => one !== ALL));
  };
  return <MultiCombobox id={name} width="auto" minWidth={10} maxWidth={40} options={options} value={[value].flat()} onChange={several} />;
}

function Time({ range }) {
  const { from, to } = range.raw;
  const known = TIMES.find((one) => from === `now-${one}` && to === "now");
  const options = TIMES.map((one) => ({ value: one, label: `Last ${one}` }));
  const other = { value: "", label: rangeUtil.describeTimeRange(range, "browser") };
  return <Combobox id="time" width="auto" minWidth={12} options={known ? options : [other, ...options]} value={known ?? ""} onChange={({ value }) => value && open({ from: `now-${value}`, to: "now" })} />;
}

export function Controls({ board, boards, variables, range, theme, refresh }) {
  const line = { display: "flex", flexWrap: "wrap", gap: 8, alignItems: "center", marginBottom: 8 };
  const quiet = { color: theme.colors.text.secondary };
  const others = boards.filter(({ uid }) => uid !== board.uid);
  return (
    <header>
      <div style={line}>
        <h1 style={{ fontSize: 20, margin: 0 }}>{board.title}</h1>
        <span style={{ flex: 1, ...quiet }} id="honest">
          Drawn with Grafana's UI library (@grafana/ui), not by a Grafana server. Heat maps, state timelines and this line are the page's own; alerts are not marked in lines.
        </span>
        <Time range={range} />
        <Button variant="secondary" onClick={refresh}>Refresh</Button>
        <Button variant="secondary" onClick={() => open({ theme: dark(search) ? "light" : "dark" })}>{dark(search) ? "Light" : "Dark"}</Button>
      </div>
      <div style={line}>
        {variables.filter(({ type }) => type !== "datasource").map((variable) => (
          <span key={variable.name} style={{ display: "inline-flex", gap: 4, alignItems: "center" }}>
            {variable.type !== "textbox" && <label htmlFor={variable.name} style={quiet}>{variable.label}</label>}
            <Choice variable={variable} />
          </span>
        ))}
        <span style={{ flex: 1 }} />
        {others.map(({ uid, title }) => (
          <LinkButton key={uid} variant="secondary" size="sm" fill="outline" href={`/d/${uid}?${search}`}>{title.replace("SuperPOD ", "")}</LinkButton>
        ))}
      </div>
    </header>
  );
}
