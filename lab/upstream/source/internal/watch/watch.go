// Package watch tells when a file was written or another one was put in its place.
package watch

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	events = syscall.IN_CREATE | syscall.IN_MODIFY | syscall.IN_MOVED_TO | syscall.IN_MOVED_FROM | syscall.IN_DELETE
	header = syscall.SizeofInotifyEvent
	// Of several events that come together one is told.
	settling = 200 * time.Millisecond
	room     = 1 << 14
)

// Watch is a file that is watched by its directory.
type Watch struct {
	Changed chan struct{} // gets one element for each change
	kernel  *os.File
}

// File watches a file from now on. Only content counts: a change of its date alone, as touch makes it, is no event; and an
// event after which the file has the date that it had before is no change.
func File(path string, since time.Time) (*Watch, error) {
	descriptor, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	found := &Watch{Changed: make(chan struct{}, 1), kernel: os.NewFile(uintptr(descriptor), "inotify")}
	if _, err := syscall.InotifyAddWatch(descriptor, filepath.Dir(path), events); err != nil {
		found.Close()
		return nil, err
	}
	named := make(chan struct{}, 1)
	go found.read(filepath.Base(path), named)
	go found.settle(path, since, named)
	return found, nil
}

// Close ends the watch.
func (w *Watch) Close() { _ = w.kernel.Close() }

func (w *Watch) read(name string, named chan<- struct{}) {
	defer close(named)
	buffer := make([]byte, room)
	for {
		length, err := w.kernel.Read(buffer)
		if err != nil {
			return
		}
		if mentions(buffer[:length], name) {
			named <- struct{}{}
		}
	}
}

func mentions(buffer []byte, name string) bool {
	for len(buffer) >= header {
		end := header + int(binary.NativeEndian.Uint32(buffer[header-4:header]))
		if string(bytes.TrimRight(buffer[header:end], "\x00")) == name {
			return true
		}
		buffer = buffer[end:]
	}
	return false
}

func (w *Watch) settle(path string, last time.Time, named <-chan struct{}) {
	timer := time.NewTimer(settling)
	timer.Stop()
	for {
		select {
		case _, more := <-named:
			if !more {
				return
			}
			timer.Reset(settling)
		case <-timer.C:
			if when := Modified(path); !when.IsZero() && !when.Equal(last) {
				last = when
				select {
				case w.Changed <- struct{}{}:
				default: // one that nobody has taken yet tells the same
				}
			}
		}
	}
}

// Modified returns the date of a file; none where it is not there.
func Modified(path string) time.Time {
	about, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return about.ModTime()
}
