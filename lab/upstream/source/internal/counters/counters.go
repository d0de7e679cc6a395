// Package counters reads the csv file that names the fields to collect.
package counters

import (
	"encoding/csv"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"dcgm-exporter.lab/internal/fields"
)

// Counter is one line of the file.
type Counter struct {
	Number            int
	Field, Type, Help string
	Times             int // how often the field is in the file
}

// IsLabel tells whether the field becomes a label of all other metrics.
func (c Counter) IsLabel() bool { return c.Type == "label" }

// Read returns the fields of the active lines by their numbers; of a field that is there twice the first line counts.
// Without profiling the lines of profiling fields are passed over.
func Read(path string, profiling bool) ([]Counter, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	// Blanks are taken off later, so a quote after a blank is an error here.
	reader := csv.NewReader(file)
	reader.Comment = '#'
	records, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("collectors file %s: %w", path, err)
	}
	found, err := all(records, profiling)
	if err != nil {
		return nil, fmt.Errorf("collectors file %s: %w", path, err)
	}
	return once(found), nil
}

// once gives each field one counter. DCGM is asked for its own as often as they are there, and each answer is shown.
func once(lines []Counter) []Counter {
	slices.SortStableFunc(lines, func(a, b Counter) int { return a.Number - b.Number })
	var found []Counter
	for _, line := range lines {
		last := len(found) - 1
		if last < 0 || found[last].Number != line.Number {
			found = append(found, line)
			found[last+1].Times = 1
		} else if !fields.IsOwn(line.Number) {
			found[last].Times++
		}
	}
	return found
}

func all(records [][]string, profiling bool) ([]Counter, error) {
	found := make([]Counter, 0, len(records))
	for _, record := range records {
		counter, err := parse(record)
		if err != nil {
			return nil, err
		}
		if fields.IsProfiling(counter.Number) && !profiling {
			slog.Warn("Line passed over: the metric is not enabled", "field", counter.Field)
			continue
		}
		if !typed(counter) {
			return nil, fmt.Errorf("%q is not a Prometheus metric type", counter.Type)
		}
		found = append(found, counter)
	}
	return found, nil
}

// parse takes blanks off and nothing else: a tab stays part of the name.
func parse(record []string) (Counter, error) {
	for i := range record {
		record[i] = strings.Trim(record[i], " ")
	}
	if len(record) != 3 {
		return Counter{}, fmt.Errorf("%q has %d fields, not 3", strings.Join(record, ","), len(record))
	}
	number, known := fields.Number(record[0])
	if !known {
		return Counter{}, fmt.Errorf("%q is not a DCGM field", record[0])
	}
	return Counter{Number: number, Field: record[0], Type: record[1], Help: record[2]}, nil
}

// typed: behind the program's own counters any word is taken.
func typed(counter Counter) bool {
	known := []string{"gauge", "counter", "histogram", "summary", "label"}
	return fields.IsOwn(counter.Number) || slices.Contains(known, counter.Type)
}
