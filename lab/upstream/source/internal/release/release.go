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
)
