// Package page writes samples in the text format that Prometheus reads.
package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"dcgm-exporter.lab/internal/counters"
	"dcgm-exporter.lab/internal/engine"
	"dcgm-exporter.lab/internal/fields"
	"dcgm-exporter.lab/internal/jobmap"
	"dcgm-exporter.lab/internal/release"
)

// Options are what the command line says about the page.
type Options struct {
	Host                   string
	OldNamespace           bool
	Devices                Selection
	XIDWindow, ClockWindow int // of the program's own counters in milliseconds
}

// row is one sample before the job map is asked.
type row struct {
	entity     engine.Entity
	labels     map[string]string // after the fixed ones, by name
	attributes map[string]string // after the labels, by name
	value      string
}

// Write gives the whole page: each counter with one sample per entity and job. Counters come by their field numbers.
func Write(wanted []counters.Counter, entities []engine.Entity, jobs jobmap.Map, options Options) string {
	var page strings.Builder
	shown, _ := options.Devices.Of(entities)
	for _, counter := range wanted {
		if counter.IsLabel() {
			continue
		}
		rows := rowsOf(counter, wanted, entities, shown, options)
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&page, "# HELP %s %s\n# TYPE %s %s\n", counter.Field, counter.Help, counter.Field, counter.Type)
		for _, found := range rows {
			page.WriteString(lines(counter.Field, found, jobs, options))
		}
	}
	return page.String()
}

func rowsOf(counter counters.Counter, wanted []counters.Counter, all, shown []engine.Entity, options Options) []row {
	if fields.IsOwn(counter.Number) {
		return ownRows(counter.Number, wanted, all, shown, options)
	}
	var found []row
	for _, entity := range shown {
		value, known := entity.Values[counter.Number]
		if !known {
			continue
		}
		made := row{entity: entity, labels: labelsOf(wanted, entity), value: value}
		if counter.Number == fields.XIDErrors {
			made.attributes = map[string]string{"err_code": value, "err_msg": message(value)}
		}
		for range counter.Times {
			found = append(found, made)
		}
	}
	return found
}

// labelsOf are the fields that the counters file makes labels.
func labelsOf(wanted []counters.Counter, entity engine.Entity) map[string]string {
	found := map[string]string{}
	for _, counter := range wanted {
		if value, known := entity.Values[counter.Number]; known && counter.IsLabel() {
			found[counter.Field] = value
		}
	}
	return found
}

// lines gives the sample once per job of its GPU, or once without a job.
func lines(name string, found row, jobs jobmap.Map, options Options) string {
	ids, hidden := jobs.Of(found.entity.GPU, found.entity.Instance)
	if hidden {
		return ""
	}
	if len(ids) == 0 {
		return line(name, found, found.attributes, options)
	}
	var text strings.Builder
	for _, id := range ids {
		attributes := map[string]string{"hpc_job": id}
		maps.Copy(attributes, found.attributes)
		text.WriteString(line(name, found, attributes, options))
	}
	return text.String()
}

// line escapes nothing, as the real program: what stands in a job-map file reaches the page as it is.
func line(name string, found row, attributes map[string]string, options Options) string {
	labels := append(fixed(found.entity, options), sorted(found.labels)...)
	labels = append(labels, sorted(attributes)...)
	return fmt.Sprintf("%s{%s} %s\n", name, strings.Join(labels, ","), found.value)
}

func fixed(entity engine.Entity, options Options) []string {
	uuid := "UUID"
	if options.OldNamespace {
		uuid = "uuid"
	}
	labels := []string{
		fmt.Sprintf(`gpu="%d"`, entity.GPU), fmt.Sprintf(`%s="%s"`, uuid, entity.UUID),
		fmt.Sprintf(`pci_bus_id="%s"`, entity.Bus), fmt.Sprintf(`device="nvidia%d"`, entity.GPU),
		fmt.Sprintf(`modelName="%s"`, entity.Model),
	}
	if entity.Profile != "" {
		labels = append(labels, fmt.Sprintf(`GPU_I_PROFILE="%s"`, entity.Profile), fmt.Sprintf(`GPU_I_ID="%s"`, entity.Instance))
	}
	if options.Host != "" {
		labels = append(labels, fmt.Sprintf(`%s="%s"`, release.HostLabel, options.Host))
	}
	return labels
}

func sorted(labels map[string]string) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		found = append(found, fmt.Sprintf(`%s="%s"`, name, labels[name]))
	}
	return found
}
