package alertmanager

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/provider"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"
)

// The three files.
const (
	silencesFile = "silences"
	nflogFile    = "nflog"
	alertsFile   = "alerts.json"
)

// What the API may add to the silences, also to those that have ended.
const (
	maxSilences     = 10_000
	maxSilenceBytes = 64 << 10
)

func (a *Alertmanager) openSilences(reg prometheus.Registerer) error {
	path := filepath.Join(a.options.Path, silencesFile)
	options := silence.Options{Retention: a.options.Retention, Logger: a.log, Limits: silence.Limits{
		MaxSilences:         func() int { return maxSilences },
		MaxSilenceSizeBytes: func() int { return maxSilenceBytes },
	}}
	data, err := loadJournal(path, wholeSilence, a.log)
	if err != nil {
		return err
	}
	options.SnapshotReader, options.Metrics = bytes.NewReader(data), reg
	if a.silences, err = silence.New(options); err != nil {
		return fmt.Errorf("making the set of silences: %w", err)
	}
	if a.silenceJournal, err = openJournal(path, true, a.saveFailed(silencesFile)); err != nil {
		return err
	}
	a.silences.SetBroadcast(a.silenceJournal.append)
	return nil
}

func (a *Alertmanager) openNotificationLog(reg prometheus.Registerer) error {
	path := filepath.Join(a.options.Path, nflogFile)
	options := nflog.Options{Retention: longestRetention, Logger: a.log}
	data, err := loadJournal(path, wholeNotification, a.log)
	if err != nil {
		return err
	}
	options.SnapshotReader, options.Metrics = bytes.NewReader(data), reg
	if a.nflog, err = nflog.New(options); err != nil {
		return fmt.Errorf("making the notification log: %w", err)
	}
	if a.nflogJournal, err = openJournal(path, false, a.saveFailed(nflogFile)); err != nil {
		return err
	}
	a.nflogJournal.heal = a.compactNotificationLog
	a.nflog.SetBroadcast(a.nflogJournal.append)
	return nil
}

// wholeSilence and wholeNotification tell whether the bytes are an entry that
// Alertmanager takes: it refuses a file with one that it does not.
func wholeSilence(entry []byte) bool {
	var e silencepb.MeshSilence
	return proto.Unmarshal(entry, &e) == nil && e.GetSilence().GetId() != "" && e.GetExpiresAt() != nil
}

func wholeNotification(entry []byte) bool {
	var e nflogpb.MeshEntry
	return proto.Unmarshal(entry, &e) == nil && e.GetEntry().GetReceiver() != nil && e.GetExpiresAt() != nil
}

func (a *Alertmanager) saveFailed(file string) func(error) {
	return func(err error) {
		a.metrics.saveErrors.WithLabelValues(file).Inc()
		a.log.Error("failed to persist change", "file", file, "error", err)
	}
}

func (a *Alertmanager) compactSilences() (int64, error) {
	if g := a.current.Load(); g != nil { // Not before Open has come to the end.
		if err := a.retainSilences(g.options.Retention); err != nil {
			return 0, err
		}
	}
	if _, err := a.silences.GC(); err != nil {
		return 0, fmt.Errorf("forgetting ended silences: %w", err)
	}
	return a.silenceJournal.compact(a.silences.Snapshot)
}

func (a *Alertmanager) compactNotificationLog() (int64, error) {
	if _, err := a.nflog.GC(); err != nil {
		return 0, fmt.Errorf("forgetting old notifications: %w", err)
	}
	return a.nflogJournal.compact(a.nflog.Snapshot)
}

// reported is the alerts a new dispatcher starts with: all that fire, and of
// those that ended the ones whose receivers still believe that they fire. The
// others would be told as resolved a second time.
type reported struct {
	*mem.Alerts
	store *store
	nflog *nflog.Log
	log   *slog.Logger
}

// SlurpAndSubscribe implements provider.Alerts.
func (r reported) SlurpAndSubscribe(name string) ([]*alert.Alert, provider.AlertIterator) {
	alerts, it := r.Alerts.SlurpAndSubscribe(name)
	alerts = r.store.withOwed(alerts)
	if !slices.ContainsFunc(alerts, (*alert.Alert).Resolved) {
		return alerts, it
	}
	firing, err := firingForReceivers(r.nflog)
	if err != nil {
		r.log.Error("reading the notification log failed; resolved alerts may be told twice", "error", err)
		return alerts, it
	}
	return slices.DeleteFunc(alerts, func(a *alert.Alert) bool { return a.Resolved() && !firing[alertHash(a.Labels)] }), it
}

// firingForReceivers is the hashes of the alerts that some receiver was told
// of as firing, and not as resolved since.
func firingForReceivers(l *nflog.Log) (map[uint64]bool, error) {
	data, err := l.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("copying the notification log: %w", err)
	}
	firing := map[uint64]bool{}
	for len(data) > 0 {
		size, n := binary.Uvarint(data)
		if n <= 0 || size > uint64(len(data)-n) {
			return nil, fmt.Errorf("an entry of the notification log is damaged")
		}
		var e nflogpb.MeshEntry
		if err := proto.Unmarshal(data[n:n+int(size)], &e); err != nil {
			return nil, fmt.Errorf("reading an entry of the notification log: %w", err)
		}
		for _, h := range e.GetEntry().GetFiringAlerts() {
			firing[h] = true
		}
		data = data[n+int(size):]
	}
	return firing, nil
}

// alertHash is the hash by which the notification log knows an alert: xxhash
// over the sorted labels, each name and value followed by the byte 0xff.
func alertHash(labels model.LabelSet) uint64 {
	names := make(model.LabelNames, 0, len(labels))
	for n := range labels {
		names = append(names, n)
	}
	slices.Sort(names)
	var text []byte
	for _, n := range names {
		text = append(text, n...)
		text = append(text, 0xff)
		text = append(text, labels[n]...)
		text = append(text, 0xff)
	}
	return xxhash.Sum64(text)
}
