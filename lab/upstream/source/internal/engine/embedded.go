package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// Where the lab describes the GPUs of a machine and how their values move.
const (
	descriptionFile = "/etc/lab/gpus.json"
	modelFile       = "/usr/lib/lab/fields.json"
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
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	Rate float64 `json:"rate"`
}

type embedded struct {
	machine description
	model   map[string]wave
}

// Embed makes an engine within this process, from the description of the machine's GPUs.
func Embed() (Engine, error) {
	found := &embedded{}
	if err := load(descriptionFile, &found.machine); err != nil {
		return nil, err
	}
	if err := load(modelFile, &found.model); err != nil {
		return nil, err
	}
	return found, nil
}

// None makes an engine that has no GPUs.
func None() Engine { return &embedded{} }

// Fake makes an engine with two GPUs that exist nowhere.
func Fake() Engine {
	machine := description{Driver: "0.0", GPUs: []board{
		{Index: 0, UUID: "GPU-00000000-0000-0000-0000-000000000000", Bus: "00000000:01:00.0", Model: "Fake GPU"},
		{Index: 1, UUID: "GPU-00000000-0000-0000-0000-000000000001", Bus: "00000000:02:00.0", Model: "Fake GPU"},
	}}
	return &embedded{machine: machine, model: map[string]wave{"DCGM_FI_DEV_GPU_UTIL": {High: 100}, "DCGM_FI_DEV_GPU_TEMP": {Low: 30, High: 70}}}
}

func load(path string, into any) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no GPUs and no driver here: %w", err)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (e *embedded) Lost() <-chan struct{} { return nil }

func (e *embedded) Sample(fields []string) ([]Entity, error) {
	now := float64(time.Now().UnixMilli()) / 1000
	var found []Entity
	for _, gpu := range e.machine.GPUs {
		whole := Entity{GPU: gpu.Index, UUID: gpu.UUID, Bus: gpu.Bus, Model: gpu.Model}
		whole.Values = e.values(fields, gpu, now, 0)
		found = append(found, whole)
		found = append(found, e.instances(whole, fields, gpu, now)...)
	}
	return found, nil
}

func (e *embedded) instances(whole Entity, fields []string, gpu board, now float64) []Entity {
	var found []Entity
	seen := map[int]bool{}
	for _, device := range gpu.MIG {
		if seen[device.GI] {
			continue
		}
		seen[device.GI] = true
		part := whole
		part.Profile, part.Instance = device.Profile, strconv.Itoa(device.GI)
		part.Values = e.values(fields, gpu, now, device.GI)
		found = append(found, part)
	}
	return found
}

func (e *embedded) values(fields []string, gpu board, now float64, instance int) map[string]string {
	found := map[string]string{}
	for _, field := range fields {
		switch field {
		case "DCGM_FI_DRIVER_VERSION":
			found[field] = e.machine.Driver
		case "DCGM_FI_DEV_SERIAL":
			found[field] = gpu.Serial
		default:
			if model, known := e.model[field]; known {
				found[field] = model.at(now, gpu.Index, instance, strings.HasPrefix(field, "DCGM_FI_PROF_"))
			}
		}
	}
	return found
}

// at must give what the host engine gives for the same moment; it counts from a fixed day so that counters only grow.
func (w wave) at(now float64, gpu, instance int, ratio bool) string {
	value := w.Low + (w.High-w.Low)*(0.5+0.5*math.Sin(now/17+float64(gpu)+0.3*float64(instance)))
	if w.Rate != 0 {
		value = w.Rate * (now - 1.75e9)
	}
	if ratio && math.Abs(w.High) <= 1 {
		return strconv.FormatFloat(value, 'f', 6, 64)
	}
	return strconv.FormatFloat(math.Floor(value), 'f', 0, 64)
}
