// Command dcgm-exporter is the lab's stand-in for NVIDIA's program of that name.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"dcgm-exporter.lab/internal/engine"
	"dcgm-exporter.lab/internal/release"
)

// BuildVersion is set by the Makefile.
var BuildVersion = "unknown"

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	settings, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, errVersion):
		fmt.Printf("DCGM Exporter version %s\n", BuildVersion)
		return
	case errors.Is(err, flag.ErrHelp):
		return
	case err == nil:
		err = run(settings)
	}
	if err != nil {
		slog.Error(err.Error())
		os.Exit(code(err))
	}
}

func code(err error) int {
	if errors.Is(err, engine.ErrUnreachable) {
		return release.UnreachableExit
	}
	return 1
}

// run starts the program, and starts it again within where a reload is that.
func run(settings settings) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	for {
		slog.Info("Starting dcgm-exporter", "version", BuildVersion)
		exporter, err := newExporter(settings)
		if err != nil {
			return err
		}
		again, err := exporter.live(signals)
		exporter.engine.Close()
		if err != nil || !again {
			return err
		}
	}
}
