// A dashboard of ours, drawn with Grafana's UI library against a Prometheus. No Grafana server is involved, and it says so.

import { EventBusSrv, LoadingState, ThemeContext } from "@grafana/data";
import { GlobalStyles, PanelChrome, PanelContextProvider } from "@grafana/ui";
import { Component, useEffect, useMemo, useState } from "react";
import { createRoot } from "react-dom/client";
import { MemoryRouter } from "react-router-dom";

import { Controls } from "./controls.jsx";
import { arranged, replacing, themeOf } from "./frames.js";
import { Drawing, Words } from "./panels.jsx";
import { answers, timeRange, title, variablesOf } from "./query.js";

const CELL = 30;
const GAP = 8;
const SIDE = 16;
const COLUMNS = 24;
const search = new URLSearchParams(location.search);
const eventBus = new EventBusSrv();
// For whoever takes a picture: what became of each panel.
window.drawn = { ready: false, panels: {} };
// A picture of samples that are old says how long ago something was then.
if (search.has("now")) {
  Date.now = () => Number(search.get("now"));
}
// Icons lie beside this page, and are asked for there.
window.__grafana_public_path__ = "/public/";

// Rows that are open push down what stands below them.
function placed(panels, open) {
  let down = 0;
  return panels.flatMap((panel) => {
    const here = { panel, y: panel.gridPos.y + down };
    if (panel.type !== "row" || !panel.collapsed || !open.has(panel.id)) {
      return [here];
    }
    const inside = panel.panels.map((one) => ({ panel: one, y: one.gridPos.y + down }));
    down += Math.max(...panel.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) - panel.gridPos.y - 1;
    return [here, ...inside];
  });
}

function told(panel, news) {
  const more = { title: panel.title || panel.type, type: panel.type };
  window.drawn.panels[panel.id] = { ...window.drawn.panels[panel.id], ...more, ...news };
}

class Caught extends Component {
  state = { error: null };

  static getDerivedStateFromError(error) {
    return { error };
  }

  componentDidCatch(error) {
    told(this.props.panel, { error: String(error) });
  }

  render() {
    return this.state.error ? <div role="alert">{String(this.state.error)}</div> : this.props.children;
  }
}

function Panel({ panel, variables, range, theme, width, height, again }) {
  const [found, setFound] = useState({ state: panel.targets ? LoadingState.Loading : LoadingState.Done });
  const replaceVariables = useMemo(() => replacing(variables, range), [variables, range]);
  useEffect(() => {
    if (!panel.targets) {
      return told(panel, { state: "done" });
    }
    let wanted = true;
    told(panel, { state: "asks" });
    answers(panel, variables, range, Math.max(100, Math.round(width)))
      .then((frames) => arranged(panel, frames, replaceVariables, theme))
      .then((data) => ({ data, rows: data.reduce((sum, frame) => sum + (panel.type === "table" ? frame.length : 1), 0) }))
      .catch((error) => ({ error: error.message, rows: 0 }))
      .then(({ data, error, rows }) => {
        if (wanted) {
          setFound({ state: LoadingState.Done, data, error });
          told(panel, { state: "done", error, rows });
        }
      });
    return () => (wanted = false);
  }, [panel, variables, range, again]);
  const name = title(panel.title ?? "", variables) + (panel.timeFrom ? ` (last ${panel.timeFrom})` : "");
  return (
    <PanelChrome {...{ width, height }} title={name} description={panel.description} loadingState={found.state} statusMessage={found.error} displayMode={panel.transparent ? "transparent" : "default"} hoverHeader={!name}>
      {(inner, tall) => (
        <Caught panel={panel}>
          {panel.type === "text" && <Words panel={panel} />}
          {found.data && <Drawing {...{ panel, range, theme, replaceVariables }} data={found.data} width={inner} height={tall} />}
        </Caught>
      )}
    </PanelChrome>
  );
}

function Row({ panel, name, open, toggle, theme }) {
  const style = { background: "none", border: 0, font: "inherit", fontWeight: 500, padding: 4, color: theme.colors.text.primary };
  const sign = !panel.collapsed || open ? "▾" : "▸";
  return (
    <button style={style} onClick={toggle} disabled={!panel.collapsed}>
      {`${sign} ${name}`}
      {panel.collapsed && !open && <span style={{ color: theme.colors.text.secondary }}>{` (${panel.panels.length} panel${panel.panels.length === 1 ? "" : "s"})`}</span>}
    </button>
  );
}

function useWidth() {
  const [width, setWidth] = useState(document.documentElement.clientWidth);
  useEffect(() => {
    const changed = () => setWidth(document.documentElement.clientWidth);
    addEventListener("resize", changed);
    return () => removeEventListener("resize", changed);
  }, []);
  return width - 2 * SIDE;
}

function Board({ board, boards, theme }) {
  const [variables, setVariables] = useState(null);
  const [again, setAgain] = useState(0);
  const [open, setOpen] = useState(new Set(search.has("open") ? board.panels.map(({ id }) => id) : []));
  const width = useWidth();
  const given = { from: search.get("from") ?? board.time.from, to: search.get("to") ?? board.time.to };
  const range = useMemo(() => timeRange(given.from, given.to), [again]);
  useEffect(() => {
    variablesOf(board, search, range).then(setVariables, (error) => told({ id: 0, title: "variables" }, { state: "done", error: error.message }));
  }, [again]);
  if (!variables) {
    return null;
  }
  const places = placed(board.panels, open);
  const end = Math.max(...places.map(({ panel, y }) => y + panel.gridPos.h));
  const toggle = (id) => setOpen(new Set(open.has(id) ? [...open].filter((one) => one !== id) : [...open, id]));
  window.drawn.wanted = places.filter(({ panel }) => panel.type !== "row").length;
  const across = (cells) => (cells * (width + GAP)) / COLUMNS - GAP;
  return (
    <main style={{ padding: `${GAP}px ${SIDE}px` }}>
      <Controls {...{ board, boards, variables, range, theme }} refresh={() => setAgain(again + 1)} />
      <div style={{ position: "relative", height: end * (CELL + GAP) }}>
        {places.map(({ panel, y }) => {
          const { x, w, h } = panel.gridPos;
          const place = { position: "absolute", left: (x * (width + GAP)) / COLUMNS, top: y * (CELL + GAP) };
          const size = { width: across(w), height: h * (CELL + GAP) - GAP };
          const name = title(panel.title ?? "", variables);
          return (
            <section key={panel.id} style={{ ...place, ...size }}>
              {panel.type === "row" ? (
                <Row {...{ panel, name, theme }} open={open.has(panel.id)} toggle={() => toggle(panel.id)} />
              ) : (
                <Panel {...{ panel, variables, range, theme, again, ...size }} />
              )}
            </section>
          );
        })}
      </div>
    </main>
  );
}

async function main() {
  const [, , uid = "superpod-cluster"] = location.pathname.split("/");
  const [board, boards] = await Promise.all([`/dashboards/${uid}.json`, "/dashboards.json"].map(async (path) => (await fetch(path)).json()));
  document.title = `${board.title} (drawn, not by Grafana)`;
  const theme = themeOf(search);
  createRoot(document.getElementById("root")).render(
    <MemoryRouter>
      <ThemeContext.Provider value={theme}>
        <GlobalStyles />
        <PanelContextProvider value={{ eventsScope: "board", eventBus }}>
          <Board {...{ board, boards, theme }} />
        </PanelContextProvider>
      </ThemeContext.Provider>
    </MemoryRouter>,
  );
}

// Some frames after the last answer, and after the page has got another size, all is drawn.
const QUIET = 20;
let quiet = 0;
addEventListener("resize", () => {
  quiet = 0;
  window.drawn.ready = false;
});
function watch() {
  const panels = Object.values(window.drawn.panels);
  const done = panels.length >= (window.drawn.wanted ?? 1) && panels.every(({ state }) => state === "done");
  quiet = done ? quiet + 1 : 0;
  window.drawn.ready = quiet > QUIET;
  requestAnimationFrame(watch);
}

main().catch((error) => {
  document.getElementById("root").textContent = `There is no such dashboard: ${error.message}`;
  window.drawn.wanted = 1;
  told({ id: 0, title: "page" }, { state: "done", error: error.message });
});
watch();
