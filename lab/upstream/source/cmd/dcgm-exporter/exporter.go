package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"dcgm-exporter.lab/internal/counters"
	"dcgm-exporter.lab/internal/engine"
	"dcgm-exporter.lab/internal/jobmap"
	"dcgm-exporter.lab/internal/page"
	"dcgm-exporter.lab/internal/release"
	"dcgm-exporter.lab/internal/webconfig"
)

type exporter struct {
	settings settings
	engine   engine.Engine
	web      webconfig.Config
	host     string

	changed time.Time // of the collectors file, used by the loop only

	guard    sync.Mutex // over what follows
	wanted   []counters.Counter
	entities []engine.Entity
}

func newExporter(s settings) (*exporter, error) {
	found := &exporter{settings: s}
	var err error
	if found.wanted, err = counters.Read(s.collectors); err != nil {
		return nil, err
	}
	found.changed = modified(s.collectors)
	if found.web, err = webconfig.Read(s.webConfig); err != nil {
		return nil, err
	}
	if found.engine, err = openEngine(s); err != nil {
		return nil, err
	}
	found.host = hostLabel(s)
	return found, found.collect()
}

func openEngine(s settings) (engine.Engine, error) {
	if s.useRemote {
		return engine.Connect(s.remote)
	}
	if s.fakeGPUs {
		return engine.Fake(), nil
	}
	found, err := engine.Embed()
	if err != nil && s.noValidate {
		slog.Warn("Going on without GPUs", "error", err)
		return engine.None(), nil
	}
	return found, err
}

// hostLabel: with a remote engine early releases show the engine's host as it was given.
func hostLabel(s settings) string {
	if s.noHostname {
		return ""
	}
	if s.useRemote && release.RemoteNamesHost {
		host, _, err := net.SplitHostPort(s.remote)
		if err != nil {
			return s.remote
		}
		return host
	}
	if name := os.Getenv("NODE_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		slog.Warn("The host has no name", "error", err)
	}
	return name
}

func (e *exporter) collect() error {
	e.guard.Lock()
	fields := make([]string, 0, len(e.wanted))
	for _, counter := range e.wanted {
		fields = append(fields, counter.Field)
	}
	e.guard.Unlock()
	entities, err := e.engine.Sample(fields)
	if err != nil {
		return err
	}
	e.guard.Lock()
	defer e.guard.Unlock()
	e.entities = entities
	return nil
}

func (e *exporter) reloadIfChanged() {
	if when := modified(e.settings.collectors); !when.IsZero() && !when.Equal(e.changed) {
		e.reload()
	}
}

// reload keeps what it had when the file is wrong.
func (e *exporter) reload() {
	e.changed = modified(e.settings.collectors)
	wanted, err := counters.Read(e.settings.collectors)
	if err != nil {
		slog.Error("The collectors were not reloaded", "error", err)
		return
	}
	e.guard.Lock()
	e.wanted = wanted
	e.guard.Unlock()
	if err := e.collect(); err != nil {
		slog.Error("No samples after the reload", "error", err)
	}
	slog.Info("The collectors were reloaded", "counters", len(wanted))
}

func modified(path string) time.Time {
	about, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return about.ModTime()
}

func (e *exporter) serve(stop context.Context) error {
	settings, err := e.web.TLS()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", e.settings.listen)
	if err != nil {
		return err
	}
	if settings != nil {
		listener = tls.NewListener(listener, settings)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("/health", health)
	routes.HandleFunc("/metrics", e.metrics)
	routes.HandleFunc("/", front)
	server := &http.Server{Handler: e.web.Guard(routes), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	context.AfterFunc(stop, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// health says nothing about the metrics: it answers as long as the process lives.
func health(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK\n")) }

func front(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write([]byte("<html><body><a href=\"/metrics\">metrics</a> <a href=\"/health\">health</a></body></html>\n"))
}

func (e *exporter) metrics(w http.ResponseWriter, _ *http.Request) {
	jobs, err := jobmap.Read(e.settings.jobMap, jobmap.OfRelease())
	if err == nil && !release.ServesMetrics {
		err = errors.New("this release was made to fail")
	}
	if err != nil {
		slog.Error("No metrics for this scrape", "error", err)
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	e.guard.Lock()
	defer e.guard.Unlock()
	options := page.Options{Host: e.host, OldNamespace: e.settings.oldNamespace, Devices: e.settings.shown}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = strings.NewReader(page.Write(e.wanted, e.entities, jobs, options)).WriteTo(w)
}
