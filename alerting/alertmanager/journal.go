package alertmanager

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// syncDelay bounds how long an entry that is in the file may not be on disk.
const syncDelay = time.Second

// maxEntryBytes bounds one entry of a journal, as Alertmanager does.
const maxEntryBytes = 4 << 20

// journal is a file of Alertmanager's: a snapshot, to which each change is
// appended in the same form at once, so that a process that is killed loses
// none. An entry replaces an earlier one of the same key when it is read.
// Compacting writes the snapshot anew.
type journal struct {
	path    string
	durable bool // append returns when the entry is on disk
	fail    func(error)
	heal    func() (int64, error) // compacts with the right snapshot

	compacting sync.Mutex

	mu      sync.Mutex
	file    *os.File
	broken  error         // the last append failed; compacting heals
	during  *bytes.Buffer // appended while a snapshot is being written
	dirty   bool          // not on disk yet
	changed chan struct{}
}

// openJournal opens the file for appending, and makes it if need be.
func openJournal(path string, durable bool, fail func(error)) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return &journal{path: path, durable: durable, fail: fail, file: f, changed: make(chan struct{}, 1)}, nil
}

// append adds an entry. It is called while Alertmanager holds its lock, so it
// must not ask it for anything.
func (j *journal) append(entry []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.during != nil {
		j.during.Write(entry)
	}
	// After a failure the file lacks an entry, or has half of it: only a new
	// snapshot helps.
	err := j.broken
	if err == nil {
		_, err = j.file.Write(entry)
	}
	if err == nil && j.durable {
		err = j.file.Sync()
	}
	if err != nil {
		j.broken = err
		j.fail(err)
	}
	j.dirty = !j.durable
	j.signal()
}

func (j *journal) signal() {
	select {
	case j.changed <- struct{}{}:
	default:
	}
}

// err tells whether the last entry is not in the file.
func (j *journal) err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.broken
}

// run brings what was appended to disk, many entries at once.
func (j *journal) run(stop <-chan struct{}) {
	timer := time.NewTimer(syncDelay)
	defer timer.Stop()
	for delay := syncDelay; ; {
		select {
		case <-stop:
			return
		case <-j.changed:
		}
		if !j.mended() {
			delay = min(2*delay, maxSaveDelay)
			j.signal() // for another try
		} else {
			delay = syncDelay
		}
		if err := j.sync(); err != nil {
			j.fail(err)
		}
		timer.Reset(delay)
		select {
		case <-stop:
			return
		case <-timer.C:
		}
	}
}

// mended tells whether the file has all entries, if need be after a new
// snapshot. What is wrong append has said.
func (j *journal) mended() bool {
	if j.err() == nil || j.heal == nil {
		return true
	}
	_, err := j.heal()
	return err == nil
}

func (j *journal) sync() error {
	j.mu.Lock()
	f, dirty := j.file, j.dirty
	j.dirty = false
	j.mu.Unlock()
	if !dirty {
		return nil
	}
	// A snapshot may have replaced and closed the file in the meantime; then
	// its entries are on disk with the snapshot.
	if err := f.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("bringing %s to disk: %w", j.path, err)
	}
	return nil
}

// compact replaces the file by a snapshot. Entries that come meanwhile are in
// the snapshot, behind it, or both.
func (j *journal) compact(snapshot func(io.Writer) (int64, error)) (size int64, err error) {
	j.compacting.Lock()
	defer j.compacting.Unlock()
	j.mu.Lock()
	j.during = &bytes.Buffer{}
	j.mu.Unlock()
	f, err := os.CreateTemp(filepath.Dir(j.path), filepath.Base(j.path)+".new-*") // 0600
	if err == nil {
		size, err = snapshot(f)
	}
	if err == nil {
		err = f.Sync() // the sync below, during which nothing can be appended, is short then
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	late := j.during
	j.during = nil
	if f == nil {
		return 0, fmt.Errorf("making a snapshot beside %s: %w", j.path, err)
	}
	if err == nil {
		_, err = f.Write(late.Bytes())
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return 0, fmt.Errorf("writing a snapshot of %s: %w", j.path, err)
	}
	j.file.Close()
	j.file, j.broken, j.dirty = f, nil, false
	syncFolder(filepath.Dir(j.path))
	return size, nil
}

func (j *journal) close() error {
	err := j.sync()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.file.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", j.path, err)
	}
	return err
}

// syncFolder brings a renamed file's name to disk, where the system can.
func syncFolder(path string) {
	if d, err := os.Open(path); err == nil {
		_ = d.Sync()
		d.Close()
	}
}

// loadJournal reads a journal. The file of one that is damaged is moved aside,
// so that somebody can look at it, and every entry that is whole is used, also
// behind the damage.
func loadJournal(path string, whole func(entry []byte) bool, log *slog.Logger) ([]byte, error) {
	removeLeftovers(path)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	good, entries := wholeEntries(data, whole)
	if len(good) == len(data) {
		return good, nil
	}
	aside, err := moveAside(path)
	if err != nil {
		return nil, err
	}
	log.Warn("a file is damaged; what could be read of it is used, and the file is kept beside",
		"path", path, "kept_as", aside, "entries", entries, "bytes_lost", len(data)-len(good))
	return good, writeFile(path, good)
}

// wholeEntries is the data without what is damaged. Where no entry begins, one
// is looked for at the next byte: the length in front of each is the only thing
// that tells where the next one is.
func wholeEntries(data []byte, whole func(entry []byte) bool) (good []byte, entries int) {
	for len(data) > 0 {
		size, n := binary.Uvarint(data)
		if n <= 0 || size == 0 || size > min(maxEntryBytes, uint64(len(data)-n)) || !whole(data[n:n+int(size)]) {
			data = data[1:]
			continue
		}
		end := n + int(size)
		good = append(good, data[:end]...)
		entries++
		data = data[end:]
	}
	return good, entries
}

// moveAside renames a file that cannot be used and tells its new name.
func moveAside(path string) (string, error) {
	aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := os.Rename(path, aside); err != nil {
		return "", fmt.Errorf("moving the damaged file %s aside: %w", path, err)
	}
	return aside, nil
}

// removeLeftovers removes what a process that was killed had half written.
func removeLeftovers(path string) {
	found, _ := filepath.Glob(path + ".new-*")
	for _, f := range found {
		os.Remove(f)
	}
}

// writeFile writes a file as a whole or not at all.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("writing %s: %w", path, err)
	}
	syncFolder(filepath.Dir(path))
	return nil
}
