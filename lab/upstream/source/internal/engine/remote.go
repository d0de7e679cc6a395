package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	defaultPort   = "5555"
	patience      = 5 * time.Second
	longestAnswer = 60 * time.Second
)

type request struct {
	Call   string `json:"call"`
	Fields []int  `json:"fields,omitempty"`
}

type reply struct {
	Error    string   `json:"error"`
	Entities []Entity `json:"entities"`
}

// remote keeps one connection; once that is lost every call fails, also when the engine is back.
type remote struct {
	guard      sync.Mutex
	connection net.Conn
	decoder    *json.Decoder
	lost       error
}

// Connect opens a connection to a host engine.
func Connect(address string) (Engine, error) {
	full := address
	if !strings.Contains(address, ":") {
		full = net.JoinHostPort(address, defaultPort)
	}
	connection, err := net.DialTimeout("tcp", full, patience)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, address, err)
	}
	found := &remote{connection: connection, decoder: json.NewDecoder(connection)}
	if err := found.Alive(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, address, err)
	}
	return found, nil
}

func (r *remote) ask(question request) (reply, error) {
	r.guard.Lock()
	defer r.guard.Unlock()
	if r.lost != nil {
		return reply{}, r.lost
	}
	var answer reply
	err := r.connection.SetDeadline(time.Now().Add(longestAnswer))
	if err == nil {
		err = json.NewEncoder(r.connection).Encode(question)
	}
	if err == nil {
		err = r.decoder.Decode(&answer)
	}
	if err != nil {
		r.lost = fmt.Errorf("the connection to the host engine is not valid: %w", err)
		return reply{}, r.lost
	}
	if answer.Error != "" {
		return reply{}, errors.New(answer.Error)
	}
	return answer, nil
}

func (r *remote) Sample(fields []int) ([]Entity, error) {
	answer, err := r.ask(request{Call: "sample", Fields: fields})
	return answer.Entities, err
}

func (r *remote) Alive() error {
	_, err := r.ask(request{Call: "hello"})
	return err
}

func (r *remote) Close() { _ = r.connection.Close() }
