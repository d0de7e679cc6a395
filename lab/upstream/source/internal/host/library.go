// Package host looks whether the machine has what the program needs besides itself: DCGM's and the driver's library.
package host

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"regexp"
)

const library = "libdcgm.so.4"

var entry = regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(library) + ` \(.*\) => (.*)$`)

// HasDCGM looks for DCGM's library where the loader's cache lists it, and whether it is one for this machine.
func HasDCGM() error {
	listed, err := exec.Command(cache(), "-p").Output()
	if err != nil {
		return fmt.Errorf("the list of libraries was not read: %w", err)
	}
	absent := fmt.Errorf("%s is not there: install NVIDIA's Data Center GPU Manager", library)
	found := entry.FindSubmatch(listed)
	if found == nil {
		return absent
	}
	own, err := machine("/proc/self/exe")
	if err != nil {
		return err
	}
	other, err := machine(string(found[1]))
	if err != nil {
		return absent
	}
	if own != other {
		return fmt.Errorf("%s is for %s, this program for %s", found[1], other, own)
	}
	return nil
}

// cache is the program that lists the loader's cache. Tests name another one, since no library can be put there without
// being root.
func cache() string {
	if given := os.Getenv("LAB_LDCONFIG"); given != "" {
		return given
	}
	if _, err := os.Stat("/sbin/ldconfig.real"); err == nil {
		return "/sbin/ldconfig.real"
	}
	return "/sbin/ldconfig"
}

func machine(path string) (elf.Machine, error) {
	file, err := elf.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	return file.Machine, nil
}
