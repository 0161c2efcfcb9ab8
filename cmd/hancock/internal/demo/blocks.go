package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// commitEvery is the number of scrapes between commits: enough to be quick, few enough to be small.
const commitEvery = 40

// blocks writes samples, given in the order of time, into blocks of Prometheus' default length. Blocks
// begin and end at whole multiples of it, as the store's own do: so none overlaps with the blocks
// that the store later cuts from its head, and they are compacted along with them.
type blocks struct {
	ctx    context.Context
	dir    string
	log    *slog.Logger
	writer *tsdb.BlockWriter
	app    storage.Appender
	number int   // of the present block, from 1
	end    int64 // of the present block, in milliseconds, not part of it
	steps  int   // since the last commit
}

// at prepares for samples of time t, in milliseconds, and has to come before them.
func (b *blocks) at(t int64) error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	if b.writer != nil && t >= b.end {
		if err := b.flush(); err != nil {
			return err
		}
	}
	if b.writer == nil {
		w, err := tsdb.NewBlockWriter(b.log, b.dir, tsdb.DefaultBlockDuration)
		if err != nil {
			return fmt.Errorf("beginning block: %w", err)
		}
		b.writer, b.app, b.steps = w, w.Appender(b.ctx), 0
		b.end = (t/tsdb.DefaultBlockDuration + 1) * tsdb.DefaultBlockDuration
		b.number++
	}
	if b.steps++; b.steps > commitEvery {
		if err := b.app.Commit(); err != nil {
			return fmt.Errorf("committing samples: %w", err)
		}
		b.app, b.steps = b.writer.Appender(b.ctx), 1
	}
	return nil
}

// known gives s a fresh start in a block that has not seen it.
func (b *blocks) known(s *series) {
	if s.block != b.number {
		s.block, s.ref = b.number, 0
	}
}

func (b *blocks) float(s *series, t int64, v float64) (err error) {
	b.known(s)
	s.ref, err = b.app.Append(s.ref, s.labels, t, v)
	return err
}

// histogram hands h over: the caller must not use it again.
func (b *blocks) histogram(s *series, t int64, h *histogram.Histogram) (err error) {
	b.known(s)
	s.ref, err = b.app.AppendHistogram(s.ref, s.labels, t, h, nil)
	return err
}

// flush writes the present block to disk.
func (b *blocks) flush() error {
	if err := b.app.Commit(); err != nil {
		return errors.Join(fmt.Errorf("committing samples: %w", err), b.close())
	}
	b.app = nil
	_, err := b.writer.Flush(b.ctx)
	if err != nil {
		err = fmt.Errorf("writing block: %w", err)
	}
	return errors.Join(err, b.close())
}

// close drops what has not been flushed and removes the writer's temporary files.
func (b *blocks) close() error {
	if b.writer == nil {
		return nil
	}
	var err error
	if b.app != nil {
		err = b.app.Rollback()
	}
	err = errors.Join(err, b.writer.Close())
	b.writer, b.app = nil, nil
	if err != nil {
		return fmt.Errorf("closing block writer: %w", err)
	}
	return nil
}

// moveBlocks renames the blocks in from into to, the newest first: should the process die in between,
// what is there is a shorter history without a hole.
func moveBlocks(from, to string) error {
	entries, err := os.ReadDir(from) // in the order of names, which is the order of time
	if err != nil {
		return fmt.Errorf("reading new blocks: %w", err)
	}
	for _, entry := range slices.Backward(entries) {
		name := entry.Name()
		if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return fmt.Errorf("moving block: %w", err)
		}
	}
	return nil
}
