package tsdb

import (
	"fmt"
	"time"
)

const (
	// settleStep and settleSteps are how long nothing more must be read from the log for its readers to count as
	// being at its end; settleWait bounds the wait for that.
	settleStep  = 10 * time.Millisecond
	settleSteps = 5
	settleWait  = time.Second
	// flushSlack is what queues take to end beyond the time that they get for sending.
	flushSlack = time.Second
)

// settleRemote lets remote_write read the end of the write-ahead log: its readers follow it in the background, and
// what they have not read when they are stopped is never sent. There is no other sign of where they are than how
// many records they have read. They are woken up again and again: a wake-up that comes while a reader still reads is
// lost, and without one it looks into the log only every 15 seconds.
func (db *DB) settleRemote() {
	if len(db.now.Load().cfg.RemoteWriteConfigs) == 0 {
		return
	}
	ticker := time.NewTicker(settleStep)
	defer ticker.Stop()
	deadline := time.After(settleWait)
	for read, same := db.recordsRead(), 0; same < settleSteps; {
		select {
		case <-deadline:
			return
		case <-ticker.C:
		}
		db.remote.Notify()
		before := read
		if read = db.recordsRead(); read == before {
			same++
		} else {
			same = 0
		}
	}
}

// closeRemote stops remote_write, which has FlushTimeout to send queued samples. Each queue has a timeout from startup;
// FlushTimeout in effect bounds all of them together.
func (db *DB) closeRemote() error {
	closed := make(chan error, 1)
	go func() { closed <- db.remote.Close() }()
	flush := db.now.Load().opts.FlushTimeout
	timeout := time.NewTimer(flush + flushSlack)
	defer timeout.Stop()
	select {
	case err := <-closed:
		return err
	case <-timeout.C:
		return fmt.Errorf("remote_write: not all queued samples were sent within %s", flush)
	}
}

// recordsRead is the number of records that all readers of the write-ahead log have read.
func (db *DB) recordsRead() float64 {
	families, err := db.registry.Gather()
	if err != nil {
		return 0
	}
	var sum float64
	for _, family := range families {
		if family.GetName() != "prometheus_wal_watcher_records_read_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}
