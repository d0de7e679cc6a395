// Package engine gives samples of GPUs: from a host engine over the network or from one of its own.
package engine

import "errors"

// ErrUnreachable is the error of a host engine that does not answer when it is first called.
var ErrUnreachable = errors.New("host engine not reached")

// Entity is a GPU, or an instance of one that is divided by MIG, with the values of the fields asked for.
type Entity struct {
	GPU      int            `json:"gpu"`
	UUID     string         `json:"uuid"`
	Bus      string         `json:"bus"`
	Model    string         `json:"model"`
	Profile  string         `json:"profile"`
	Instance string         `json:"instance"`
	ID       int            `json:"id"` // DCGM's number of an instance
	Values   map[int]string `json:"values"`
}

// Engine is where samples come from.
type Engine interface {
	// Sample returns all GPUs and instances; fields that the engine does not know are missing from the values.
	Sample(fields []int) ([]Entity, error)
	// Alive asks whether the engine still answers.
	Alive() error
	// Close ends the connection.
	Close()
}
