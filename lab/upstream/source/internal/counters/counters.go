// Package counters reads the csv file that names the fields to collect.
package counters

import (
	"encoding/csv"
	"fmt"
	"os"
	"strings"
)

// Counter is one line of the file.
type Counter struct {
	Field, Type, Help string
}

// IsLabel tells whether the field becomes a label of all other metrics.
func (c Counter) IsLabel() bool { return c.Type == "label" }

// Read returns the active lines of the file in their order.
func Read(path string) ([]Counter, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	reader := csv.NewReader(file)
	reader.Comment = '#'
	reader.TrimLeadingSpace = true
	records, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("collectors file %s: %w", path, err)
	}
	found := make([]Counter, 0, len(records))
	for _, record := range records {
		counter, err := parse(record)
		if err != nil {
			return nil, fmt.Errorf("collectors file %s: %w", path, err)
		}
		found = append(found, counter)
	}
	return found, nil
}

func parse(record []string) (Counter, error) {
	if len(record) != 3 {
		return Counter{}, fmt.Errorf("%q has %d fields, not 3", strings.Join(record, ","), len(record))
	}
	for i := range record {
		record[i] = strings.TrimSpace(record[i])
	}
	counter := Counter{Field: record[0], Type: record[1], Help: record[2]}
	if !strings.HasPrefix(counter.Field, "DCGM_FI_") && !strings.HasPrefix(counter.Field, "DCGM_EXP_") {
		return Counter{}, fmt.Errorf("%q is not a DCGM field", counter.Field)
	}
	switch counter.Type {
	case "gauge", "counter", "histogram", "summary", "label":
		return counter, nil
	}
	return Counter{}, fmt.Errorf("%q is not a Prometheus metric type", counter.Type)
}
