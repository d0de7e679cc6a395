package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"dcgm-exporter.lab/internal/counters"
	"dcgm-exporter.lab/internal/engine"
	"dcgm-exporter.lab/internal/fields"
	"dcgm-exporter.lab/internal/jobmap"
	"dcgm-exporter.lab/internal/page"
	"dcgm-exporter.lab/internal/release"
)

const (
	requestTime = 10 * time.Second
	goodbyeTime = 2 * time.Second
)

type server struct {
	http   *http.Server
	failed chan error
}

func (e *exporter) serve() (*server, error) {
	settings, err := e.web.TLS()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", e.settings.listen)
	if err != nil {
		return nil, err
	}
	if settings != nil {
		listener = tls.NewListener(listener, settings)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("/health", health)
	routes.HandleFunc("/metrics", e.metrics)
	routes.HandleFunc("/", front)
	found := &server{failed: make(chan error, 1)}
	found.http = &http.Server{Handler: e.web.Guard(routes), ReadTimeout: requestTime, WriteTimeout: requestTime}
	go func() {
		if err := found.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			found.failed <- err
		}
	}()
	slog.Info("Listening", "address", e.settings.listen)
	return found, nil
}

// stop lets the pages that are asked for end.
func (s *server) stop() {
	patience, release := context.WithTimeout(context.Background(), goodbyeTime)
	defer release()
	_ = s.http.Shutdown(patience)
	_ = s.http.Close()
}

func unsniffed(w http.ResponseWriter) { w.Header().Set("X-Content-Type-Options", "nosniff") }

// health says nothing about the metrics: it answers as long as the process lives.
func health(w http.ResponseWriter, _ *http.Request) {
	unsniffed(w)
	if release.HotReload {
		w.Header().Set("X-Registry-Available", "true")
	}
	_, _ = w.Write([]byte(release.Health))
}

func front(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	unsniffed(w)
	_, _ = w.Write([]byte("<html><body><a href=\"/metrics\">metrics</a> <a href=\"/health\">health</a></body></html>\n"))
}

// metrics names no Content-Type: the server finds one in the first bytes, and there are none on an empty page.
func (e *exporter) metrics(w http.ResponseWriter, _ *http.Request) {
	unsniffed(w)
	text, err := e.text()
	if err != nil {
		slog.Error("No metrics for this scrape", "error", err)
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	_, _ = w.Write([]byte(text))
}

// text asks neither the engine nor the job map for a page that has no samples.
func (e *exporter) text() (string, error) {
	if !release.ServesMetrics {
		return "", errors.New("this release was made to fail")
	}
	wanted, entities := e.now()
	if len(wanted) == 0 || len(entities) == 0 {
		return "", nil
	}
	if err := e.ask(wanted); err != nil {
		return "", err
	}
	jobs, err := jobmap.Read(e.settings.jobMap, jobmap.OfRelease())
	if err != nil {
		return "", err
	}
	return page.Write(wanted, entities, jobs, e.settings.page(e.host)), nil
}

func (e *exporter) now() ([]counters.Counter, []engine.Entity) {
	e.guard.Lock()
	defer e.guard.Unlock()
	return e.wanted, e.entities
}

// ask ends the program in the middle of the answer when the engine is lost and DCGM's own fields are on the page.
func (e *exporter) ask(wanted []counters.Counter) error {
	err := e.engine.Alive()
	ofDCGM := func(one counters.Counter) bool { return !fields.IsOwn(one.Number) }
	if err != nil && slices.ContainsFunc(wanted, ofDCGM) {
		slog.Error("No metrics: " + err.Error())
		os.Exit(1)
	}
	return err
}
