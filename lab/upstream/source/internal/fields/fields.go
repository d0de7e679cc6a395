// Package fields knows the names that a counters file may use and the number that each has.
package fields

import (
	_ "embed"
	"strconv"
	"strings"
)

// Numbers of fields that the program treats in a way of their own. Those from 9001 on are not DCGM's but its own.
const (
	ClockEvents      = 112
	XIDErrors        = 230
	XIDErrorsCount   = 9001
	ClockEventsCount = 9002
	HealthStatus     = 9003
	P2PStatus        = 9004

	firstProfiling = 1000
	afterProfiling = 1100
	firstOwn       = 9001
)

// The names stand in the program as they are: whoever looks for one among its bytes finds those that it knows and no
// others. make-repository leaves only those of the release here.
//
//go:embed fields.csv
var table string

var numbers = read(table)

func read(text string) map[string]int {
	found := map[string]int{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		cells := strings.Split(line, ",")
		number, err := strconv.Atoi(cells[0])
		if err != nil || len(cells) < 2 {
			panic("fields.csv: " + line)
		}
		found[cells[1]] = number
	}
	return found
}

// Number returns the number of a name.
func Number(name string) (int, bool) {
	number, known := numbers[name]
	return number, known
}

// IsProfiling tells whether the field needs DCGM's profiling.
func IsProfiling(number int) bool { return number >= firstProfiling && number < afterProfiling }

// IsOwn tells whether the program counts it itself, from other fields.
func IsOwn(number int) bool { return number >= firstOwn }
