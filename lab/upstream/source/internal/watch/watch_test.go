package watch

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

const patience = 3 * settling

func TestWhatIsAChange(t *testing.T) {
	for _, c := range []struct {
		name   string
		act    func(path string) error
		change bool
	}{
		{"it was written", func(path string) error { return os.WriteFile(path, []byte("new"), 0o644) }, true},
		{"another file was put in its place", func(path string) error { return replace(path, time.Now()) }, true},
		{"its date alone changed", func(path string) error { return os.Chtimes(path, time.Now(), time.Now()) }, false},
		{"a file of the same date was put in its place", func(path string) error { return replace(path, old) }, false},
		{"it is gone", os.Remove, false},
		{"another file of the folder was written", func(path string) error { return os.WriteFile(path+"x", nil, 0o644) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "counters.csv")
			if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			watch, err := File(path, Modified(path))
			if err != nil {
				t.Fatal(err)
			}
			defer watch.Close()
			if err := c.act(path); err != nil {
				t.Fatal(err)
			}
			if found := told(watch); found != c.change {
				t.Errorf("told: %v", found)
			}
		})
	}
}

func TestTheFirstEventIsAChangeWhereNoDateIsKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counters.csv")
	watch, err := File(path, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	for _, want := range []bool{true, false} {
		if err := replace(path, old); err != nil {
			t.Fatal(err)
		}
		if found := told(watch); found != want {
			t.Errorf("told: %v", found)
		}
	}
}

var old = time.Unix(1_700_000_000, 0)

func replace(path string, when time.Time) error {
	fresh := path + ".fresh"
	if err := os.WriteFile(fresh, []byte("new"), 0o644); err != nil {
		return err
	}
	if err := os.Chtimes(fresh, when, when); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

func told(watch *Watch) bool {
	select {
	case <-watch.Changed:
		return true
	case <-time.After(patience):
		return false
	}
}
