package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

const (
	defaultPort = "5555"
	patience    = 5 * time.Second
)

type request struct {
	Call   string   `json:"call"`
	Fields []string `json:"fields,omitempty"`
}

type reply struct {
	Error    string   `json:"error"`
	Entities []Entity `json:"entities"`
}

type remote struct {
	connection net.Conn
	replies    chan reply
	lost       chan struct{}
}

// Connect opens a connection to a host engine, which is kept: its end is noticed without a question being asked.
func Connect(address string) (Engine, error) {
	if !strings.Contains(address, ":") {
		address = net.JoinHostPort(address, defaultPort)
	}
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, fmt.Errorf("host engine %s: %w", address, err)
	}
	found := &remote{connection: connection, replies: make(chan reply), lost: make(chan struct{})}
	go found.listen()
	if _, err := found.ask(request{Call: "hello"}); err != nil {
		return nil, fmt.Errorf("host engine %s: %w", address, err)
	}
	return found, nil
}

func (r *remote) listen() {
	defer close(r.lost)
	decoder := json.NewDecoder(r.connection)
	for {
		var answer reply
		if err := decoder.Decode(&answer); err != nil {
			return
		}
		r.replies <- answer
	}
}

func (r *remote) ask(question request) (reply, error) {
	if err := json.NewEncoder(r.connection).Encode(question); err != nil {
		return reply{}, err
	}
	select {
	case answer := <-r.replies:
		if answer.Error != "" {
			return reply{}, errors.New(answer.Error)
		}
		return answer, nil
	case <-r.lost:
		return reply{}, errors.New("connection lost")
	case <-time.After(patience):
		return reply{}, fmt.Errorf("no answer within %s", patience)
	}
}

func (r *remote) Sample(fields []string) ([]Entity, error) {
	answer, err := r.ask(request{Call: "sample", Fields: fields})
	return answer.Entities, err
}

func (r *remote) Lost() <-chan struct{} { return r.lost }
