// Command dcgm-exporter is the lab's stand-in for NVIDIA's program of that name.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// BuildVersion is set by the Makefile.
var BuildVersion = "unknown"

func main() {
	settings, err := parse(os.Args[1:])
	if errors.Is(err, errVersion) {
		fmt.Printf("DCGM Exporter version %s\n", BuildVersion)
		return
	}
	if err == nil {
		err = run(settings)
	}
	if err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}

func run(settings settings) error {
	slog.Info("Starting dcgm-exporter", "version", BuildVersion)
	exporter, err := newExporter(settings)
	if err != nil {
		return err
	}
	stop, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer release()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	failed := make(chan error, 1)
	go func() { failed <- exporter.serve(stop) }()
	slog.Info("Listening", "address", settings.listen)
	return exporter.loop(stop, reload, failed)
}

func (e *exporter) loop(stop context.Context, reload <-chan os.Signal, failed <-chan error) error {
	collect := time.NewTicker(e.settings.interval)
	watch := time.NewTicker(time.Second)
	for {
		select {
		case <-stop.Done():
			slog.Info("Stopped")
			return nil
		case err := <-failed:
			return err
		case <-e.engine.Lost():
			return errors.New("the connection to the host engine was lost")
		case <-reload:
			e.reload()
		case <-watch.C:
			e.reloadIfChanged()
		case <-collect.C:
			if err := e.collect(); err != nil {
				return err
			}
		}
	}
}
