package main

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"dcgm-exporter.lab/internal/counters"
	"dcgm-exporter.lab/internal/engine"
	"dcgm-exporter.lab/internal/fields"
	"dcgm-exporter.lab/internal/host"
	"dcgm-exporter.lab/internal/page"
	"dcgm-exporter.lab/internal/release"
	"dcgm-exporter.lab/internal/watch"
	"dcgm-exporter.lab/internal/webconfig"
)

const betweenReloads = 2 * time.Second

type exporter struct {
	settings settings
	engine   engine.Engine
	web      webconfig.Config
	host     string

	reloaded time.Time

	guard    sync.Mutex // over what follows
	wanted   []counters.Counter
	entities []engine.Entity
}

func newExporter(s settings) (*exporter, error) {
	if err := prerequisites(s); err != nil {
		return nil, err
	}
	found := &exporter{settings: s}
	var err error
	if found.engine, err = openEngine(s); err != nil {
		return nil, err
	}
	if release.NeedsDriver && !s.noValidate {
		if err := host.HasDriver(); err != nil {
			return nil, err
		}
	}
	if found.web, err = webconfig.Read(s.webConfig); err != nil {
		return nil, err
	}
	found.host = hostLabel(s)
	return found, found.build(true)
}

func prerequisites(s settings) error {
	if s.noValidate {
		return nil
	}
	return host.HasDCGM()
}

func openEngine(s settings) (engine.Engine, error) {
	if s.useRemote {
		return engine.Connect(s.remote)
	}
	if s.fakeGPUs {
		return engine.Fake(), nil
	}
	return engine.Embed()
}

// hostLabel: with a remote engine early releases show the engine's host as it was given.
func hostLabel(s settings) string {
	if s.useRemote && release.RemoteNamesHost {
		name, _, err := net.SplitHostPort(s.remote)
		if err != nil {
			return s.remote
		}
		return name
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

// build reads the collectors file and asks for the first samples. An engine that does not answer is one without GPUs.
func (e *exporter) build(profiling bool) error {
	wanted, err := counters.Read(e.settings.collectors, profiling)
	if err != nil {
		return err
	}
	entities, err := e.engine.Sample(page.Needs(wanted))
	if err != nil {
		slog.Info("Not collecting GPU metrics", "error", err)
	}
	_, there := e.settings.shown.Of(entities)
	for _, counter := range wanted {
		none := counter.Number == fields.HealthStatus && len(entities) == 0
		if fields.IsOwn(counter.Number) && (none || err != nil || !there) {
			return errors.New(counter.Field + " cannot be counted without GPUs")
		}
	}
	e.guard.Lock()
	defer e.guard.Unlock()
	e.wanted, e.entities = wanted, entities
	return nil
}

// collect renews the samples. That the engine is lost shows when somebody asks for the page.
func (e *exporter) collect() {
	e.guard.Lock()
	wanted := e.wanted
	e.guard.Unlock()
	entities, err := e.engine.Sample(page.Needs(wanted))
	if err != nil {
		return
	}
	e.guard.Lock()
	defer e.guard.Unlock()
	if len(e.entities) > 0 {
		e.entities = entities
	}
}

// live serves until a signal or an error; true means that the program has to start again within.
func (e *exporter) live(signals <-chan os.Signal) (bool, error) {
	server, err := e.serve()
	if err != nil {
		return false, err
	}
	defer server.stop()
	collect := time.NewTicker(e.settings.interval)
	defer collect.Stop()
	file, err := e.watch()
	if err != nil {
		return false, err
	}
	defer file.Close()
	for {
		reload := false
		select {
		case err := <-server.failed:
			return false, err
		case received := <-signals:
			slog.Info("Received signal", "signal", received.String())
			if received != syscall.SIGHUP {
				return false, nil
			}
			reload = true
		case <-file.Changed:
			reload = true
		case <-collect.C:
			e.collect()
		}
		if reload && !release.HotReload {
			return true, nil
		}
		if reload {
			if err := e.reload(); err != nil {
				return false, err
			}
		}
	}
}

// reload makes the page anew, and profiling fields are not among what is asked for then. One that comes too soon after
// another is dropped.
func (e *exporter) reload() error {
	if time.Since(e.reloaded) < betweenReloads {
		slog.Warn("Reload dropped: too soon after the last")
		return nil
	}
	e.reloaded = time.Now()
	e.guard.Lock()
	e.wanted, e.entities = nil, nil
	e.guard.Unlock()
	if err := e.build(false); err != nil {
		return err
	}
	slog.Info("Reloaded", "counters", len(e.wanted), "samples of", len(e.entities))
	return nil
}

// watch: where a reload is a start within, the first event counts even if the file is as it was.
func (e *exporter) watch() (*watch.Watch, error) {
	var since time.Time
	if release.HotReload {
		since = watch.Modified(e.settings.collectors)
	}
	return watch.File(e.settings.collectors, since)
}
