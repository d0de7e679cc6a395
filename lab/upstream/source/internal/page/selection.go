package page

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dcgm-exporter.lab/internal/engine"
)

// Selection is which entities are shown: f (instances where a GPU has some, else the GPU), g or i, with ids as in g:0,2-4.
type Selection struct {
	kind string
	ids  []int // nil is all
}

// Select reads the text of the option -d.
func Select(text string) (Selection, error) {
	kind, list, limited := strings.Cut(text, ":")
	if !slices.Contains([]string{"f", "g", "i"}, kind) || kind == "f" && limited {
		return Selection{}, fmt.Errorf("devices %q: none of f, g, i, g:IDS, i:IDS", text)
	}
	if !limited {
		return Selection{kind: kind}, nil
	}
	ids, err := numbers(list)
	if err != nil {
		return Selection{}, fmt.Errorf("devices %q: %w", text, err)
	}
	return Selection{kind: kind, ids: ids}, nil
}

func numbers(list string) ([]int, error) {
	found := []int{}
	for _, text := range strings.Split(list, ",") {
		low, high, ranged := strings.Cut(text, "-")
		first, err := strconv.Atoi(low)
		if err != nil {
			return nil, err
		}
		last := first
		if ranged {
			if last, err = strconv.Atoi(high); err != nil {
				return nil, err
			}
		}
		for id := first; id <= last; id++ {
			found = append(found, id)
		}
	}
	return found, nil
}

// Of returns the entities that are shown; false if an id is asked for that is not there, and then nothing is shown.
func (s Selection) Of(entities []engine.Entity) ([]engine.Entity, bool) {
	divided := map[int]bool{}
	for _, entity := range entities {
		divided[entity.GPU] = divided[entity.GPU] || entity.Instance != ""
	}
	var found []engine.Entity
	missing := slices.Clone(s.ids)
	for _, entity := range entities {
		id, kind := entity.GPU, "g"
		if entity.Instance != "" {
			id, kind = entity.ID, "i"
		}
		if s.kind == "f" && (kind == "i" || !divided[entity.GPU]) || s.kind == kind && (s.ids == nil || slices.Contains(s.ids, id)) {
			found = append(found, entity)
		}
		if s.kind == kind {
			missing = slices.DeleteFunc(missing, func(one int) bool { return one == id })
		}
	}
	if len(missing) > 0 {
		return nil, false
	}
	return found, true
}
