// Package jobmap reads the directory in which a batch system writes down which job uses which GPU.
package jobmap

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"dcgm-exporter.lab/internal/release"
)

// Rules are what differs between releases.
type Rules struct {
	MIGFiles       bool
	EmptyHides     bool
	DuplicateFails bool
}

// OfRelease are the rules of the release that this program is.
func OfRelease() Rules {
	return Rules{release.MIGMapFiles, release.EmptyMapHides, release.DuplicateFails}
}

// Map has the job ids of each GPU, by the name of its file.
type Map struct {
	ids   map[string][]string
	rules Rules
}

var gpuOrInstance = regexp.MustCompile(`^\d+(\.\d+)?$`)

// Read reads the directory anew. A missing directory is an empty map; an error on any file is an error of the whole.
func Read(directory string, rules Rules) (Map, error) {
	found := Map{ids: map[string][]string{}, rules: rules}
	if directory == "" {
		return found, nil
	}
	if _, err := os.Stat(directory); err != nil {
		return found, nil
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return found, err
	}
	for _, entry := range entries {
		if entry.IsDir() || !rules.accepts(entry.Name()) {
			continue
		}
		if found.ids[entry.Name()], err = found.read(filepath.Join(directory, entry.Name())); err != nil {
			return found, err
		}
	}
	return found, nil
}

// accepts: before the files of MIG instances came, a name was what Go's Atoi takes, "+1" and "007" included.
func (r Rules) accepts(name string) bool {
	if r.MIGFiles {
		return gpuOrInstance.MatchString(name)
	}
	_, err := strconv.Atoi(name)
	return err == nil
}

func (m Map) read(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var ids []string
	seen := map[string]bool{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		id := lines.Text()
		if seen[id] && m.rules.DuplicateFails {
			return nil, fmt.Errorf("%s: job %q is there twice", path, id)
		}
		seen[id] = true
		ids = append(ids, id)
	}
	return ids, lines.Err()
}

// Of returns the job ids of a GPU, or of an instance if that is not empty; hidden means that no sample may be shown.
func (m Map) Of(gpu int, instance string) (ids []string, hidden bool) {
	name := strconv.Itoa(gpu)
	if instance != "" && m.rules.MIGFiles {
		name += "." + instance
	}
	ids, exists := m.ids[name]
	return ids, exists && len(ids) == 0 && m.rules.EmptyHides
}
