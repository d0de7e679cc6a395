package page

import (
	"strconv"

	"dcgm-exporter.lab/internal/counters"
	"dcgm-exporter.lab/internal/engine"
	"dcgm-exporter.lab/internal/fields"
	"dcgm-exporter.lab/internal/release"
)

// messages are what XIDs are called that lab and tests use; others of the catalogue read "Unknown Error" here.
var messages = map[string]string{
	"0": "No Error", "13": "Graphics Engine Exception", "31": "GPU memory page fault", "43": "GPU stopped processing",
	"48": "Double Bit ECC Error", "62": "Internal micro-controller halt", "74": "NVLINK Error",
	"79": "GPU has fallen off the bus", "92": "High single-bit ECC error rate", "94": "Contained ECC error",
	"95": "Uncontained ECC error", "119": "GSP RPC Timeout", "120": "GSP Error", "140": "Unrecovered ECC Error",
}

// clockEvents are the bits of the field that tells why clocks are low.
var clockEvents = []string{
	"gpu_idle", "clocks_setting", "power_cap", "hw_slowdown", "sync_boost", "sw_thermal", "hw_thermal", "hw_power_brake",
	"display_clocks",
}

var watches = []string{"PCIE", "NVLINK", "PMU", "MCU", "MEM", "SM", "INFOROM", "THERMAL", "POWER", "DRIVER"}

func message(xid string) string {
	if known, found := messages[xid]; found {
		return known
	}
	return "Unknown Error"
}

// Needs returns the fields that the engine has to give for these counters.
func Needs(wanted []counters.Counter) []int {
	var found []int
	for _, counter := range wanted {
		switch counter.Number {
		case fields.XIDErrorsCount:
			found = append(found, fields.XIDErrors)
		case fields.ClockEventsCount:
			found = append(found, fields.ClockEvents)
		case fields.HealthStatus, fields.P2PStatus:
		default:
			found = append(found, counter.Number)
		}
	}
	return found
}

// ownRows are the rows of what the program counts itself. Health and P2P are of whole GPUs, whatever devices are chosen.
func ownRows(number int, wanted []counters.Counter, all, shown []engine.Entity, options Options) []row {
	var found []row
	gpus := whole(all)
	switch number {
	case fields.XIDErrorsCount:
		for _, entity := range shown {
			value, known := entity.Values[fields.XIDErrors]
			found = append(found, counted(wanted, entity, options.XIDWindow, "xid", []string{value}, known)...)
		}
	case fields.ClockEventsCount:
		for _, entity := range shown {
			value, known := entity.Values[fields.ClockEvents]
			found = append(found, counted(wanted, entity, options.ClockWindow, "clock_event", bits(value), known)...)
		}
	case fields.HealthStatus:
		for _, entity := range gpus {
			found = append(found, healthRows(wanted, entity)...)
		}
	case fields.P2PStatus:
		for _, entity := range gpus {
			found = append(found, peerRows(wanted, entity, gpus)...)
		}
	}
	return found
}

// counted: one row per event of the window; where DCGM has no value, one row 0 that names none. The value 0 is an XID like
// any other, and no clock event.
func counted(wanted []counters.Counter, entity engine.Entity, window int, label string, events []string, known bool) []row {
	made := func(value string) row {
		labels := labelsOf(wanted, entity)
		labels["window_size_in_ms"] = strconv.Itoa(window)
		return row{entity: entity, labels: labels, value: value}
	}
	if !known {
		return []row{made("0")}
	}
	var found []row
	for _, event := range events {
		one := made("1")
		one.labels[label] = event
		found = append(found, one)
	}
	return found
}

func bits(value string) []string {
	set, err := strconv.Atoi(value)
	if err != nil {
		return nil
	}
	var found []string
	for place, name := range clockEvents {
		if set&(1<<place) != 0 {
			found = append(found, name)
		}
	}
	return found
}

func healthRows(wanted []counters.Counter, entity engine.Entity) []row {
	names := watches
	if release.HealthOfAll {
		names = append(append([]string{}, watches...), "ALL")
	}
	var found []row
	for _, name := range names {
		labels := labelsOf(wanted, entity)
		labels["health_watch"], labels["health_error_code"] = name, "DCGM_FR_OK"
		found = append(found, row{entity: entity, labels: labels, value: "0"})
	}
	return found
}

func peerRows(wanted []counters.Counter, entity engine.Entity, gpus []engine.Entity) []row {
	var found []row
	for place, peer := range gpus {
		if peer.GPU == entity.GPU {
			continue
		}
		labels := labelsOf(wanted, entity)
		labels["peer_gpu"], labels["link_status"] = strconv.Itoa(place), "OK"
		found = append(found, row{entity: entity, labels: labels, value: "0"})
	}
	return found
}

func whole(all []engine.Entity) []engine.Entity {
	var found []engine.Entity
	for _, entity := range all {
		if entity.Instance == "" {
			found = append(found, entity)
		}
	}
	return found
}
