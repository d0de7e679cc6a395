package page

import (
	"strings"
	"testing"

	"dcgm-exporter.lab/internal/counters"
	"dcgm-exporter.lab/internal/engine"
	"dcgm-exporter.lab/internal/jobmap"
)

var (
	wanted = []counters.Counter{
		{Field: "DCGM_FI_DEV_GPU_UTIL", Type: "gauge", Help: "load"},
		{Field: "DCGM_FI_DEV_ENC_UTIL", Type: "gauge", Help: "encoder"},
		{Field: "DCGM_FI_DRIVER_VERSION", Type: "label", Help: "driver"},
	}
	values = map[string]string{"DCGM_FI_DEV_GPU_UTIL": "97", "DCGM_FI_DRIVER_VERSION": "550"}
	boards = []engine.Entity{
		{GPU: 0, UUID: "GPU-a", Bus: "b0", Model: "H100", Values: values},
		{GPU: 0, UUID: "GPU-a", Bus: "b0", Model: "H100", Profile: "1g.10gb", Instance: "7", Values: values},
		{GPU: 1, UUID: "GPU-b", Bus: "b1", Model: "H100", Values: values},
	}
)

func TestASampleHasItsLabelsInOrder(t *testing.T) {
	text := write(t, "f", "dgx-01")
	want := `DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",pci_bus_id="b0",device="nvidia0",modelName="H100",` +
		`GPU_I_PROFILE="1g.10gb",GPU_I_ID="7",Hostname="dgx-01",DCGM_FI_DRIVER_VERSION="550"} 97`
	if !strings.Contains(text, want) {
		t.Errorf("%s\nlacks\n%s", text, want)
	}
}

func TestAFieldUnknownToTheEngineHasNoRows(t *testing.T) {
	if text := write(t, "f", ""); strings.Contains(text, "ENC_UTIL") {
		t.Error(text)
	}
}

func TestDevicesChooseWhatIsShown(t *testing.T) {
	for devices, rows := range map[string]int{"f": 2, "g": 2, "i": 1, "g+i": 3, "g:1": 1, "g:1+i:0": 2, "i:5": 0} {
		if found := strings.Count(write(t, devices, ""), "} 97"); found != rows {
			t.Errorf("%s shows %d rows, not %d", devices, found, rows)
		}
	}
	for _, devices := range []string{"", "x", "g:", "g:a", "f:1"} {
		if _, err := Select(devices); err == nil {
			t.Errorf("%q was accepted", devices)
		}
	}
}

func write(t *testing.T, devices, host string) string {
	t.Helper()
	selection, err := Select(devices)
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := jobmap.Read("", jobmap.OfRelease())
	if err != nil {
		t.Fatal(err)
	}
	return Write(wanted, boards, jobs, Options{Host: host, Devices: selection})
}
