package page

import (
	"strings"
	"testing"

	"dcgm-exporter.lab/internal/counters"
	"dcgm-exporter.lab/internal/engine"
	"dcgm-exporter.lab/internal/jobmap"
	"dcgm-exporter.lab/internal/release"
)

var (
	wanted = []counters.Counter{
		{Number: 1, Field: "DCGM_FI_DRIVER_VERSION", Type: "label", Help: "driver"},
		{Number: 203, Field: "DCGM_FI_DEV_GPU_UTIL", Type: "gauge", Help: "load", Times: 1},
		{Number: 206, Field: "DCGM_FI_DEV_ENC_UTIL", Type: "gauge", Help: "encoder", Times: 1},
	}
	values = map[int]string{203: "97", 1: "550", 230: "0", 112: "0"}
	boards = []engine.Entity{
		{GPU: 0, UUID: "GPU-a", Bus: "b0", Model: "H100", Values: values},
		{GPU: 0, UUID: "GPU-a", Bus: "b0", Model: "H100", Profile: "1g.10gb", Instance: "7", ID: 0, Values: values},
		{GPU: 0, UUID: "GPU-a", Bus: "b0", Model: "H100", Profile: "1g.10gb", Instance: "9", ID: 1, Values: values},
		{GPU: 1, UUID: "GPU-b", Bus: "b1", Model: "H100", Values: values},
	}
)

func TestASampleHasItsLabelsInOrder(t *testing.T) {
	text := write(t, wanted, boards, Options{Host: "dgx-01"}, "f")
	want := `DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",pci_bus_id="b0",device="nvidia0",modelName="H100",` +
		`GPU_I_PROFILE="1g.10gb",GPU_I_ID="7",Hostname="dgx-01",DCGM_FI_DRIVER_VERSION="550"} 97`
	if !strings.Contains(text, want) {
		t.Errorf("%s\nlacks\n%s", text, want)
	}
}

func TestLabelsOfTheCountersFileComeByName(t *testing.T) {
	labels := append([]counters.Counter{{Number: 53, Field: "DCGM_FI_DEV_SERIAL", Type: "label"}}, wanted...)
	board := engine.Entity{UUID: "u", Values: map[int]string{53: "7", 1: "550", 203: "1"}}
	if text := write(t, labels, []engine.Entity{board}, Options{}, "f"); !strings.Contains(text, `DCGM_FI_DEV_SERIAL="7",DCGM_FI_DRIVER_VERSION="550"}`) {
		t.Error(text)
	}
}

func TestAFieldUnknownToTheEngineHasNoRows(t *testing.T) {
	if text := write(t, wanted, boards, Options{}, "f"); strings.Contains(text, "ENC_UTIL") {
		t.Error(text)
	}
}

func TestAnXIDHasItsCodeAndWhatItIsCalled(t *testing.T) {
	for code, called := range map[string]string{"0": "No Error", "79": "GPU has fallen off the bus", "4711": "Unknown Error"} {
		counter := []counters.Counter{{Number: 230, Field: "DCGM_FI_DEV_XID_ERRORS", Type: "gauge", Times: 1}}
		board := []engine.Entity{{Values: map[int]string{230: code}}}
		want := `modelName="",err_code="` + code + `",err_msg="` + called + `"} ` + code + "\n"
		if text := write(t, counter, board, Options{}, "f"); !strings.Contains(text, want) {
			t.Errorf("%s\nlacks\n%s", text, want)
		}
	}
}

func TestRowsOfOwnCounters(t *testing.T) {
	eleven := 10
	if release.HealthOfAll {
		eleven = 11
	}
	busy := []engine.Entity{
		{GPU: 0, Values: map[int]string{230: "79", 112: "72"}}, {GPU: 1, Values: values}, {GPU: 2, Values: map[int]string{}},
	}
	for _, c := range []struct {
		number int
		part   string
		count  int
	}{
		{9001, `window_size_in_ms="5000",xid="79"} 1`, 1},
		{9001, `window_size_in_ms="5000",xid="0"} 1`, 1},
		{9001, `gpu="2",UUID="",pci_bus_id="",device="nvidia2",modelName="",window_size_in_ms="5000"} 0`, 1},
		{9002, `clock_event="hw_slowdown",window_size_in_ms="7000"} 1`, 1},
		{9002, `clock_event="hw_thermal",window_size_in_ms="7000"} 1`, 1},
		{9002, `gpu="2",UUID="",pci_bus_id="",device="nvidia2",modelName="",window_size_in_ms="7000"} 0`, 1},
		{9002, `gpu="1"`, 0},
		{9003, `health_error_code="DCGM_FR_OK",health_watch=`, 3 * eleven},
		{9004, `link_status="OK",peer_gpu="1"} 0`, 2},
	} {
		counter := []counters.Counter{{Number: c.number, Field: "X", Type: "gauge"}}
		text := write(t, counter, busy, Options{XIDWindow: 5000, ClockWindow: 7000}, "f")
		if found := strings.Count(text, c.part); found != c.count {
			t.Errorf("%d has %s %d times, not %d\n%s", c.number, c.part, found, c.count, text)
		}
	}
}

func TestDevicesChooseWhatIsShown(t *testing.T) {
	for devices, rows := range map[string]int{
		"f": 3, "g": 2, "i": 2, "g:1": 1, "g:0-1": 2, "i:0": 1, "i:0,1": 2, "i:0-1": 2, "g:0,7": 0, "i:5": 0, "g:3-2": 0,
	} {
		if found := strings.Count(write(t, wanted, boards, Options{}, devices), "} 97"); found != rows {
			t.Errorf("%s shows %d rows, not %d", devices, found, rows)
		}
	}
	for _, devices := range []string{"", "x", "g:", "g:a", "f:1", "g+i", "g:1-2-3", "g:0,"} {
		if _, err := Select(devices); err == nil {
			t.Errorf("%q was accepted", devices)
		}
	}
}

func write(t *testing.T, wanted []counters.Counter, boards []engine.Entity, options Options, devices string) string {
	t.Helper()
	var err error
	if options.Devices, err = Select(devices); err != nil {
		t.Fatal(err)
	}
	jobs, err := jobmap.Read("", jobmap.OfRelease())
	if err != nil {
		t.Fatal(err)
	}
	return Write(wanted, boards, jobs, options)
}
