// Package engine gives samples of GPUs: from a host engine over the network or from one of its own.
package engine

// Entity is a GPU, or an instance of one that is divided by MIG, with the values of the fields asked for.
type Entity struct {
	GPU      int               `json:"gpu"`
	UUID     string            `json:"uuid"`
	Bus      string            `json:"bus"`
	Model    string            `json:"model"`
	Profile  string            `json:"profile"`
	Instance string            `json:"instance"`
	Values   map[string]string `json:"values"`
}

// Engine is where samples come from.
type Engine interface {
	// Sample returns all GPUs and instances; fields that the engine does not know are missing from the values.
	Sample(fields []string) ([]Entity, error)
	// Lost is closed when the engine can no longer be asked.
	Lost() <-chan struct{}
}
