package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"time"

	"dcgm-exporter.lab/internal/fields"
)

// Where the lab describes the GPUs of a machine and how their values move; tests name other files.
const (
	descriptionFile = "/etc/lab/gpus.json"
	modelFile       = "/usr/lib/lab/fields.json"
	settingsFile    = "/etc/lab/dcgm.json"
)

// Fields whose values are words of the machine or the board.
const (
	driverVersion  = 1
	serialNumber   = 53
	instancesOfGPU = 8 // DCGM numbers the instances through all GPUs
)

type board struct {
	Index  int    `json:"index"`
	UUID   string `json:"uuid"`
	Bus    string `json:"bus"`
	Model  string `json:"model"`
	Serial string `json:"serial"`
	MIG    []struct {
		Profile string `json:"profile"`
		GI      int    `json:"gi"`
	} `json:"mig"`
}

type description struct {
	Driver string  `json:"driver"`
	GPUs   []board `json:"gpus"`
}

// wave is how a field moves: between low and high, or up by rate per second.
type wave struct {
	Number int     `json:"number"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Rate   float64 `json:"rate"`
	Double bool    `json:"double"`
	Whole  bool    `json:"whole"` // neither a divided GPU nor its instances have it
}

type embedded struct {
	machine description
	model   map[int]wave
}

// Embed makes an engine within this process, from the description of the machine's GPUs. No description is no GPUs.
func Embed() (Engine, error) {
	found := &embedded{model: map[int]wave{}}
	if err := load(place("LAB_GPUS", descriptionFile), &found.machine); err != nil {
		return nil, err
	}
	var waves map[string]wave
	if err := load(place("LAB_FIELDS", modelFile), &waves); err != nil {
		return nil, err
	}
	settings := struct {
		Profiling bool `json:"profiling"`
	}{true}
	if err := load(place("LAB_DCGM", settingsFile), &settings); err != nil {
		return nil, err
	}
	for _, wave := range waves {
		if settings.Profiling || !fields.IsProfiling(wave.Number) {
			found.model[wave.Number] = wave
		}
	}
	return found, nil
}

// Fake makes an engine with two GPUs that exist nowhere.
func Fake() Engine {
	machine := description{Driver: "0.0", GPUs: []board{
		{Index: 0, UUID: "GPU-00000000-0000-0000-0000-000000000000", Bus: "00000000:01:00.0", Model: "Fake GPU"},
		{Index: 1, UUID: "GPU-00000000-0000-0000-0000-000000000001", Bus: "00000000:02:00.0", Model: "Fake GPU"},
	}}
	return &embedded{machine: machine, model: map[int]wave{150: {Low: 30, High: 70}, 203: {High: 100}}}
}

func place(variable, usual string) string {
	if given := os.Getenv(variable); given != "" {
		return given
	}
	return usual
}

func load(path string, into any) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (e *embedded) Alive() error { return nil }

func (e *embedded) Close() {}

func (e *embedded) Sample(wanted []int) ([]Entity, error) {
	now := float64(time.Now().UnixMilli()) / 1000
	var found []Entity
	for _, gpu := range e.machine.GPUs {
		whole := Entity{GPU: gpu.Index, UUID: gpu.UUID, Bus: gpu.Bus, Model: gpu.Model}
		whole.Values = e.values(wanted, gpu, now, 0)
		found = append(found, whole)
		found = append(found, e.instances(whole, wanted, gpu, now)...)
	}
	return found, nil
}

func (e *embedded) instances(whole Entity, wanted []int, gpu board, now float64) []Entity {
	var found []Entity
	seen := map[int]bool{}
	for _, device := range gpu.MIG {
		if seen[device.GI] {
			continue
		}
		seen[device.GI] = true
		part := whole
		part.Profile, part.Instance, part.ID = device.Profile, strconv.Itoa(device.GI), instancesOfGPU*gpu.Index+len(found)
		part.Values = e.values(wanted, gpu, now, device.GI)
		found = append(found, part)
	}
	return found
}

func (e *embedded) values(wanted []int, gpu board, now float64, instance int) map[int]string {
	found := map[int]string{}
	for _, field := range wanted {
		switch field {
		case driverVersion:
			found[field] = e.machine.Driver
		case serialNumber:
			found[field] = gpu.Serial
		default:
			if model, known := e.model[field]; known && !(model.Whole && len(gpu.MIG) > 0) {
				found[field] = model.at(now, gpu.Index, instance)
			}
		}
	}
	return found
}

// at must give what the host engine gives for the same moment; it counts from a fixed day so that counters only grow.
func (w wave) at(now float64, gpu, instance int) string {
	value := w.Low + (w.High-w.Low)*(0.5+0.5*math.Sin(now/17+float64(gpu)+0.3*float64(instance)))
	if w.Rate != 0 {
		value = w.Rate * (now - 1.75e9)
	}
	if w.Double {
		return strconv.FormatFloat(value, 'f', 6, 64)
	}
	return strconv.FormatFloat(math.Floor(value), 'f', 0, 64)
}
