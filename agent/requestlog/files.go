package requestlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Options say where and how much of the log is kept.
type Options struct {
	// Dir is the folder of the files; empty for none.
	Dir string
	// MaxSizeBytes is the size at which the next file begins.
	MaxSizeBytes int64
	// MaxTotalBytes bounds all files together; the oldest go first.
	MaxTotalBytes int64
}

// DefaultOptions keep 512 MiB in files of 64 MiB, in no folder yet.
func DefaultOptions() Options {
	return Options{MaxSizeBytes: 64 << 20, MaxTotalBytes: 512 << 20}
}

// Validate reports the first setting that no files can be kept with. The names
// in its errors are those of the configuration file.
func (o Options) Validate() error {
	const smallest, most = 256 << 10, 1000
	switch {
	case o.Dir == "":
		return nil
	case o.MaxSizeBytes < smallest:
		return fmt.Errorf("agent.log.max_file_size: must be at least %d bytes, is %d", smallest, o.MaxSizeBytes)
	case o.MaxTotalBytes < 2*o.MaxSizeBytes:
		return fmt.Errorf("agent.log.max_total_size: must be at least twice max_file_size, is %d", o.MaxTotalBytes)
	case o.MaxTotalBytes/o.MaxSizeBytes > most:
		return fmt.Errorf("agent.log.max_total_size: must be at most %d times max_file_size", most)
	}
	return nil
}

// maxLineBytes is the longest line in a file and in a live tail.
const maxLineBytes = 128 << 10

var errFilesClosed = errors.New("log files are closed")

// files is a row of files that are written one after the other. They are
// numbered and never renamed, so that a place in one stays where it is.
type files struct {
	opts Options

	mu      sync.Mutex
	current *os.File
	torn    bool     // the current file does not end with a line's end
	row     []extent // oldest first, the last one is current
}

// extent is one file and how much of it is written.
type extent struct {
	number uint64
	size   int64
}

func fileName(number uint64) string { return fmt.Sprintf("hancock-%08d.log", number) }

// fileNumber is the number in a file's name, 0 for names that are not ours.
func fileNumber(name string) uint64 {
	digits, ok := strings.CutPrefix(name, "hancock-")
	digits, isLog := strings.CutSuffix(digits, ".log")
	number, err := strconv.ParseUint(digits, 10, 64)
	if !ok || !isLog || err != nil || fileName(number) != name {
		return 0
	}
	return number
}

// openFiles goes on where the last process stopped.
func openFiles(opts Options) (*files, error) {
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(opts.Dir)
	if err != nil {
		return nil, err
	}
	f := &files{opts: opts}
	for _, e := range entries {
		info, err := e.Info()
		if number := fileNumber(e.Name()); number > 0 && err == nil && info.Mode().IsRegular() {
			f.row = append(f.row, extent{number, info.Size()})
		}
	}
	slices.SortFunc(f.row, func(a, b extent) int { return int(min(max(int64(a.number)-int64(b.number), -1), 1)) }) // #nosec G115 -- order only
	if len(f.row) == 0 {
		f.row = []extent{{number: 1}}
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, f.prune()
}

// open opens the last file of the row.
func (f *files) open() error {
	last := &f.row[len(f.row)-1]
	file, err := os.OpenFile(filepath.Join(f.opts.Dir, fileName(last.number)), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	// Also one that somebody restored from a backup.
	err = file.Chmod(0o600)
	if err == nil {
		last.size, err = file.Seek(0, io.SeekEnd)
	}
	end := []byte{'\n'}
	if err == nil && last.size > 0 {
		_, err = file.ReadAt(end, last.size-1)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.current, f.torn = file, end[0] != '\n'
	return nil
}

// append writes one line, with its end, to the file.
func (f *files) append(line []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current == nil {
		return errFilesClosed
	}
	if last := f.row[len(f.row)-1]; last.size > 0 && last.size+int64(len(line))+1 > f.opts.MaxSizeBytes {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if f.torn {
		// A line that was cut off must not spoil the one after it.
		line = append([]byte{'\n'}, line...)
	}
	n, err := f.current.Write(line)
	f.row[len(f.row)-1].size += int64(n)
	if n > 0 {
		f.torn = line[n-1] != '\n'
	}
	return err
}

// rotate begins the next file.
func (f *files) rotate() error {
	f.row = append(f.row, extent{number: f.row[len(f.row)-1].number + 1})
	old := f.current
	if err := f.open(); err != nil {
		f.row = f.row[:len(f.row)-1]
		return err
	}
	return errors.Join(old.Close(), f.prune())
}

// resize applies the size limits of opts. The next line rotates a current file
// that is larger.
func (f *files) resize(opts Options) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opts.MaxSizeBytes, f.opts.MaxTotalBytes = opts.MaxSizeBytes, opts.MaxTotalBytes
	return f.prune()
}

// prune removes the oldest files until a full current one fits.
func (f *files) prune() error {
	total := f.opts.MaxSizeBytes - f.row[len(f.row)-1].size
	for _, e := range f.row {
		total += e.size
	}
	for len(f.row) > 1 && total > f.opts.MaxTotalBytes {
		err := os.Remove(filepath.Join(f.opts.Dir, fileName(f.row[0].number)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= f.row[0].size
		f.row = f.row[1:]
	}
	return nil
}

// snapshot is what is written by now, newest first.
func (f *files) snapshot() []extent {
	f.mu.Lock()
	defer f.mu.Unlock()
	row := slices.Clone(f.row)
	slices.Reverse(row)
	return row
}

func (f *files) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.current.Close()
	f.current = nil
	return err
}

// substitute stands for a line that is too long: its time, level and length.
func substitute(line []byte) []byte {
	head := line[:levelStart]
	return fmt.Appendf(nil, `%s%s","message":"line too long, see standard error","bytes":%d}`+"\n",
		head, levelName(levelOf(line)), len(line))
}
