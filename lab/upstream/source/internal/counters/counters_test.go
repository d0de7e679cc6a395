package counters

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLinesThatAreTaken(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"in the order of the numbers", "DCGM_FI_DEV_GPU_UTIL,gauge,a\nDCGM_FI_DEV_SM_CLOCK,gauge,b\n",
			"DCGM_FI_DEV_SM_CLOCK/gauge/b DCGM_FI_DEV_GPU_UTIL/gauge/a"},
		{"the first of two", "DCGM_FI_DEV_GPU_UTIL,gauge,a\nDCGM_FI_DEV_GPU_UTIL,counter,b\n", "2×DCGM_FI_DEV_GPU_UTIL/gauge/a"},
		{"one of its own twice", "DCGM_EXP_XID_ERRORS_COUNT,gauge,a\nDCGM_EXP_XID_ERRORS_COUNT,gauge,b\n",
			"DCGM_EXP_XID_ERRORS_COUNT/gauge/a"},
		{"blanks around", "  DCGM_FI_DEV_GPU_UTIL ,  gauge , a b \n", "DCGM_FI_DEV_GPU_UTIL/gauge/a b"},
		{"comments and empty lines", "# x\n\nDCGM_FI_DEV_GPU_UTIL,gauge,a\n", "DCGM_FI_DEV_GPU_UTIL/gauge/a"},
		{"a quoted text", "DCGM_FI_DEV_GPU_UTIL,gauge,\"a, b\"\n", "DCGM_FI_DEV_GPU_UTIL/gauge/a, b"},
		{"an old name", "dcgm_gpu_temp,gauge,a\n", "dcgm_gpu_temp/gauge/a"},
		{"any type behind a counter of its own", "DCGM_EXP_XID_ERRORS_COUNT,nonsense,a\n", "DCGM_EXP_XID_ERRORS_COUNT/nonsense/a"},
		{"an empty file", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if found, err := read(t, c.text, true); err != nil || found != c.want {
				t.Errorf("got %q, %v; want %q", found, err, c.want)
			}
		})
	}
}

func TestLinesThatAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown field":          "DCGM_FI_DEV_NO_SUCH,gauge,a\n",
		"an unknown own counter":    "DCGM_EXP_NO_SUCH,gauge,a\n",
		"a tab before the name":     "\tDCGM_FI_DEV_GPU_UTIL,gauge,a\n",
		"a tab before the type":     "DCGM_FI_DEV_GPU_UTIL,\tgauge,a\n",
		"a quote after a blank":     "DCGM_FI_DEV_GPU_UTIL, gauge, \"a, b\"\n",
		"two cells":                 "DCGM_FI_DEV_GPU_UTIL,gauge\n",
		"a comma in the help":       "DCGM_FI_DEV_GPU_UTIL,gauge,a,b\n",
		"an unknown type":           "DCGM_FI_DEV_GPU_UTIL,speed,a\n",
		"a comment after a blank":   " # x\n",
		"a name in the wrong case":  "dcgm_fi_dev_gpu_util,gauge,a\n",
		"a line of nothing but ,,":  ",,\n",
		"one wrong line among good": "DCGM_FI_DEV_GPU_UTIL,gauge,a\nx,gauge,b\n",
	} {
		if found, err := read(t, text, true); err == nil {
			t.Errorf("%s was taken: %q", name, found)
		}
	}
}

func TestWithoutProfilingItsLinesArePassedOverUnread(t *testing.T) {
	text := "DCGM_FI_PROF_DRAM_ACTIVE,speed,a\nDCGM_FI_DEV_GPU_UTIL,gauge,b\n"
	if found, err := read(t, text, false); err != nil || found != "DCGM_FI_DEV_GPU_UTIL/gauge/b" {
		t.Errorf("got %q, %v", found, err)
	}
	if _, err := read(t, text, true); err == nil {
		t.Error("a wrong type was taken")
	}
}

func read(t *testing.T, text string, profiling bool) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "counters.csv")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	found, err := Read(path, profiling)
	var words []string
	for _, counter := range found {
		word := counter.Field + "/" + counter.Type + "/" + counter.Help
		if counter.Times > 1 {
			word = fmt.Sprintf("%d×%s", counter.Times, word)
		}
		words = append(words, word)
	}
	return strings.Join(words, " "), err
}
