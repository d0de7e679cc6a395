// Package release says how this release differs from the others. make-repository writes it anew for each tag.
package release

const (
	// HostLabel is the name of the label that carries the host.
	HostLabel = "Hostname"
	// RemoteNamesHost: with a remote engine the label is the engine's host as given, "localhost" included.
	RemoteNamesHost = true
	// MIGMapFiles: job-map files named <gpu>.<gpu instance> are read.
	MIGMapFiles = true
	// EmptyMapHides: an empty job-map file removes the samples of its GPU.
	EmptyMapHides = false
	// DuplicateFails: one job id twice in one job-map file fails the whole page.
	DuplicateFails = false
	// ServesMetrics is false in a test release whose /metrics never works.
	ServesMetrics = true
	// HotReload: a reload makes the page anew within the running server, without profiling. Else it is a start within.
	HotReload = true
	// UnreachableExit is the exit code when the host engine does not answer at the start.
	UnreachableExit = 1
	// NeedsDriver: NVML has to start, also with a remote engine.
	NeedsDriver = false
	// KnowsNoValidate: there is the option --disable-startup-validate.
	KnowsNoValidate = true
	// Health is what /health says, whatever the metrics do.
	Health = "OK"
	// HealthOfAll: DCGM_EXP_GPU_HEALTH_STATUS has a row of the watch ALL.
	HealthOfAll = true
)
