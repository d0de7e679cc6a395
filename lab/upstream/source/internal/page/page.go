// Package page writes samples in the text format that Prometheus reads.
package page

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dcgm-exporter.lab/internal/counters"
	"dcgm-exporter.lab/internal/engine"
	"dcgm-exporter.lab/internal/jobmap"
	"dcgm-exporter.lab/internal/release"
)

// Options are what the command line says about the page.
type Options struct {
	Host         string
	OldNamespace bool
	Devices      Selection
}

// Write gives the whole page: each counter with one sample per entity and job.
func Write(wanted []counters.Counter, entities []engine.Entity, jobs jobmap.Map, options Options) string {
	var page strings.Builder
	shown := options.Devices.of(entities)
	for _, counter := range wanted {
		if counter.IsLabel() {
			continue
		}
		var lines []string
		for _, entity := range shown {
			lines = append(lines, samples(counter, wanted, entity, jobs, options)...)
		}
		if len(lines) > 0 {
			fmt.Fprintf(&page, "# HELP %s %s\n# TYPE %s %s\n", counter.Field, counter.Help, counter.Field, counter.Type)
			page.WriteString(strings.Join(lines, "\n") + "\n")
		}
	}
	return page.String()
}

func samples(counter counters.Counter, wanted []counters.Counter, entity engine.Entity, jobs jobmap.Map, options Options) []string {
	value, known := entity.Values[counter.Field]
	ids, hidden := jobs.Of(entity.GPU, entity.Instance)
	if !known || hidden {
		return nil
	}
	labels := labelsOf(wanted, entity, options)
	if len(ids) == 0 {
		return []string{fmt.Sprintf("%s{%s} %s", counter.Field, labels, value)}
	}
	var lines []string
	for _, id := range ids {
		lines = append(lines, fmt.Sprintf(`%s{%s,hpc_job="%s"} %s`, counter.Field, labels, id, value))
	}
	return lines
}

// labelsOf escapes nothing, as the real program: what stands in a job-map file reaches the page as it is.
func labelsOf(wanted []counters.Counter, entity engine.Entity, options Options) string {
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
	for _, counter := range wanted {
		if value, known := entity.Values[counter.Field]; known && counter.IsLabel() {
			labels = append(labels, fmt.Sprintf(`%s="%s"`, counter.Field, value))
		}
	}
	return strings.Join(labels, ",")
}

// Selection is which entities are shown: f (instances where a GPU has some, else the GPU), g or i, with ids as in g:0,1+i:0.
type Selection struct {
	flexible  bool
	gpus      bool
	instances bool
	gpuIDs    []int
	partIDs   []int
}

// Select reads the text of the option -d.
func Select(text string) (Selection, error) {
	var found Selection
	for _, part := range strings.Split(text, "+") {
		kind, list, limited := strings.Cut(part, ":")
		ids, err := numbers(list, limited)
		if err != nil {
			return found, fmt.Errorf("devices %q: %w", text, err)
		}
		switch {
		case kind == "f" && !limited:
			found.flexible = true
		case kind == "g":
			found.gpus, found.gpuIDs = true, ids
		case kind == "i":
			found.instances, found.partIDs = true, ids
		default:
			return found, fmt.Errorf("devices %q: %q is none of f, g, i, g:IDS, i:IDS", text, part)
		}
	}
	return found, nil
}

func numbers(list string, wanted bool) ([]int, error) {
	if !wanted {
		return nil, nil
	}
	var found []int
	for _, text := range strings.Split(list, ",") {
		number, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		found = append(found, number)
	}
	return found, nil
}

func (s Selection) of(entities []engine.Entity) []engine.Entity {
	divided := map[int]bool{}
	for _, entity := range entities {
		divided[entity.GPU] = divided[entity.GPU] || entity.Instance != ""
	}
	var found []engine.Entity
	part := -1
	for _, entity := range entities {
		if entity.Instance != "" {
			part++
		}
		if s.shows(entity, divided[entity.GPU], part) {
			found = append(found, entity)
		}
	}
	return found
}

func (s Selection) shows(entity engine.Entity, divided bool, part int) bool {
	if entity.Instance == "" {
		return s.flexible && !divided || s.gpus && (s.gpuIDs == nil || slices.Contains(s.gpuIDs, entity.GPU))
	}
	return s.flexible || s.instances && (s.partIDs == nil || slices.Contains(s.partIDs, part))
}
