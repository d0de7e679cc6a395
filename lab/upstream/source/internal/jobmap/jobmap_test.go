package jobmap

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var (
	current   = Rules{MIGFiles: true}
	beforeMIG = Rules{}
	oldest    = Rules{EmptyHides: true}
	strict    = Rules{MIGFiles: true, DuplicateFails: true}
)

func TestIDsOfAGPU(t *testing.T) {
	cases := []struct {
		name     string
		rules    Rules
		files    map[string]string
		gpu      int
		instance string
		want     []string
		hidden   bool
	}{
		{"no file", current, nil, 0, "", nil, false},
		{"one id", current, map[string]string{"0": "12345\n"}, 0, "", []string{"12345"}, false},
		{"no newline at the end", current, map[string]string{"0": "12345"}, 0, "", []string{"12345"}, false},
		{"several ids keep their order", current, map[string]string{"3": "7\n5\n6\n"}, 3, "", []string{"7", "5", "6"}, false},
		{"another GPU's file does not count", current, map[string]string{"1": "5\n"}, 0, "", nil, false},
		{"a blank line is an empty id", current, map[string]string{"0": "5\n\n"}, 0, "", []string{"5", ""}, false},
		{"a name with letters is skipped", current, map[string]string{"0.tmp": "5\n", "x": "6\n"}, 0, "", nil, false},
		{"a name with a sign is skipped", current, map[string]string{"+0": "5\n"}, 0, "", nil, false},
		{"an instance has its own file", current, map[string]string{"0.7": "5\n"}, 0, "7", []string{"5"}, false},
		{"a GPU's file does not count for its instance", current, map[string]string{"0": "5\n"}, 0, "7", nil, false},
		{"before MIG files a GPU's file counts for its instances", beforeMIG, map[string]string{"0": "5\n"}, 0, "7", []string{"5"}, false},
		{"before MIG files an instance's file is skipped", beforeMIG, map[string]string{"0.7": "5\n"}, 0, "7", nil, false},
		{"an empty file hides nothing", current, map[string]string{"0": ""}, 0, "", nil, false},
		{"an empty file hid the GPU at first", oldest, map[string]string{"0": ""}, 0, "", nil, true},
		{"a duplicate is shown twice", current, map[string]string{"0": "5\n5\n"}, 0, "", []string{"5", "5"}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			found, err := Read(directory(t, c.files), c.rules)
			if err != nil {
				t.Fatal(err)
			}
			ids, hidden := found.Of(c.gpu, c.instance)
			if !reflect.DeepEqual(ids, c.want) || hidden != c.hidden {
				t.Errorf("got %q, hidden %v; want %q, hidden %v", ids, hidden, c.want, c.hidden)
			}
		})
	}
}

func TestAMissingDirectoryIsAnEmptyMap(t *testing.T) {
	if _, err := Read(filepath.Join(t.TempDir(), "none"), current); err != nil {
		t.Error(err)
	}
}

func TestADirectoryNamedLikeAGPUIsSkipped(t *testing.T) {
	place := t.TempDir()
	if err := os.Mkdir(filepath.Join(place, "0"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(place, current); err != nil {
		t.Error(err)
	}
}

func TestOneUnreadableFileFailsTheWhole(t *testing.T) {
	place := directory(t, map[string]string{"0": "5\n"})
	if err := os.Symlink("/nonexistent", filepath.Join(place, "1")); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(place, current); err == nil {
		t.Error("a link to nowhere was read without an error")
	}
}

func TestALineThatNeverEndsFailsTheWhole(t *testing.T) {
	place := directory(t, map[string]string{"0": strings.Repeat("9", 1<<20)})
	if _, err := Read(place, current); err == nil {
		t.Error("a line of 1 MiB was read without an error")
	}
}

func TestADuplicateFailsTheWholeInTheReleaseThatMinds(t *testing.T) {
	if _, err := Read(directory(t, map[string]string{"0": "5\n6\n5\n"}), strict); err == nil {
		t.Error("a duplicate id was read without an error")
	}
}

func directory(t *testing.T, files map[string]string) string {
	t.Helper()
	place := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(place, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return place
}
