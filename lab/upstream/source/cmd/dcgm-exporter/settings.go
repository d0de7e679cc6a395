package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"time"

	"dcgm-exporter.lab/internal/page"
	"dcgm-exporter.lab/internal/release"
)

var errVersion = errors.New("the version is asked for")

type settings struct {
	collectors, listen, remote, devices, jobMap, webConfig, logFormat string
	milliseconds, xidWindow, clockWindow                              int
	interval                                                          time.Duration
	oldNamespace, fakeGPUs, noValidate, useRemote, ignored, version   bool
	shown                                                             page.Selection
}

// option is one setting: its names on the command line, and the environment variable that gives its default.
type option struct {
	names       []string
	environment string
	target      any
	fallback    string
}

func options(s *settings) []option {
	found := []option{
		{[]string{"f", "collectors"}, "DCGM_EXPORTER_COLLECTORS", &s.collectors, "/etc/dcgm-exporter/default-counters.csv"},
		{[]string{"a", "address"}, "DCGM_EXPORTER_LISTEN", &s.listen, ":9400"},
		{[]string{"c", "collect-interval"}, "DCGM_EXPORTER_INTERVAL", &s.milliseconds, "30000"},
		{[]string{"r", "remote-hostengine-info"}, "DCGM_REMOTE_HOSTENGINE_INFO", &s.remote, ""},
		{[]string{"d", "devices"}, "DCGM_EXPORTER_DEVICES_STR", &s.devices, "f"},
		{[]string{"o", "use-old-namespace"}, "DCGM_EXPORTER_USE_OLD_NAMESPACE", &s.oldNamespace, "false"},
		{[]string{"n", "no-hostname"}, "DCGM_EXPORTER_NO_HOSTNAME", &s.ignored, "false"},
		{[]string{"hpc-job-mapping-dir"}, "DCGM_HPC_JOB_MAPPING_DIR", &s.jobMap, ""},
		{[]string{"web-config-file"}, "DCGM_EXPORTER_WEB_CONFIG_FILE", &s.webConfig, ""},
		{[]string{"log-format"}, "DCGM_EXPORTER_LOG_FORMAT", &s.logFormat, "text"},
		{[]string{"x", "xid-count-window-size"}, "DCGM_EXPORTER_XID_COUNT_WINDOW_SIZE", &s.xidWindow, "300000"},
		{[]string{"clock-events-count-window-size"}, "DCGM_EXPORTER_CLOCK_EVENTS_COUNT_WINDOW_SIZE", &s.clockWindow, "300000"},
		{[]string{"fake-gpus"}, "DCGM_EXPORTER_USE_FAKE_GPUS", &s.fakeGPUs, "false"},
		{[]string{"v", "version"}, "", &s.version, "false"},
	}
	if release.KnowsNoValidate {
		names := []string{"disable-startup-validate"}
		found = append(found, option{names, "DISABLE_STARTUP_VALIDATE", &s.noValidate, "false"})
	}
	return found
}

func parse(arguments []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("dcgm-exporter", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, o := range options(&s) {
		if err := o.add(flags); err != nil {
			return s, err
		}
	}
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}
	_, inEnvironment := os.LookupEnv("DCGM_REMOTE_HOSTENGINE_INFO")
	s.useRemote = inEnvironment
	flags.Visit(func(given *flag.Flag) {
		s.useRemote = s.useRemote || given.Name == "r" || given.Name == "remote-hostengine-info"
	})
	return s, s.complete()
}

func (o option) add(flags *flag.FlagSet) error {
	text := o.fallback
	_, words := o.target.(*string)
	// An empty variable is an empty word, but no number.
	if given, found := os.LookupEnv(o.environment); found && (given != "" || words) {
		text = given
	}
	var err error
	for _, name := range o.names {
		switch target := o.target.(type) {
		case *string:
			flags.StringVar(target, name, text, "")
		case *int:
			*target, err = strconv.Atoi(text)
			flags.IntVar(target, name, *target, "")
		case *bool:
			*target, err = strconv.ParseBool(text)
			flags.BoolVar(target, name, *target, "")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.environment, err)
		}
	}
	return nil
}

func (s *settings) complete() error {
	if s.version {
		return errVersion
	}
	if !slices.Contains([]string{"text", "json"}, s.logFormat) {
		return fmt.Errorf("log format %q is neither text nor json", s.logFormat)
	}
	if s.logFormat == "json" {
		slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	}
	if s.milliseconds <= 0 {
		return fmt.Errorf("the interval is %d ms, it must be above 0", s.milliseconds)
	}
	s.interval = time.Duration(s.milliseconds) * time.Millisecond
	var err error
	s.shown, err = page.Select(s.devices)
	return err
}

func (s *settings) page(host string) page.Options {
	return page.Options{
		Host: host, OldNamespace: s.oldNamespace, Devices: s.shown, XIDWindow: s.xidWindow, ClockWindow: s.clockWindow,
	}
}
