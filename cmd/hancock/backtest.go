package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/cyberviser/hancock/alerting/backtest"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// backtestCommand is what `hancock backtest` was told to replay.
type backtestCommand struct {
	file    string
	request struct {
		Rules *string `json:"rules,omitempty"`
		File  string  `json:"file,omitempty"`
		From  string  `json:"from"`
		To    string  `json:"to,omitempty"`
	}
}

// maxRules is the largest rule file that the API takes.
const maxRules = 1 << 20

// replay asks a running Hancock, which has the history, for a backtest and
// prints its report. How far it is goes to progress, over and over on one line.
func replay(ctx context.Context, inv invocation, stdout, progress io.Writer) error {
	command := inv.backtest
	if command.file != "" {
		rules, err := readRules(command.file)
		if err != nil {
			return usageError{err}
		}
		if len(rules) > maxRules {
			return usageError{fmt.Errorf("%s is larger than %s", command.file, config.Bytes(maxRules))}
		}
		text := string(rules)
		command.request.Rules, command.request.File = &text, command.file
		if len(command.file) > backtest.MaxFileName {
			command.request.File = filepath.Base(command.file)
		}
	}
	resp, err := inv.call(ctx, backtest.Path, command.request, http.Header{"Accept": {"text/event-stream"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	report, err := readReport(resp.Body, progress)
	if err != nil {
		return err
	}
	return report.WriteText(stdout)
}

// readRules reads a file up to the first byte that is too many.
func readRules(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRules+1))
}

// readReport reads the events of a backtest up to its report.
func readReport(body io.Reader, progress io.Writer) (*backtest.Report, error) {
	defer func() {
		fmt.Fprintf(progress, "\r%-70s\r", "") // What follows stands on a line of its own.
		// The next backtest may begin only when this answer has ended.
		_, _ = io.Copy(io.Discard, body)
	}()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 64<<20)
	event := ""
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = name
			continue
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		switch event {
		case "progress":
			var p backtest.Progress
			if err := json.Unmarshal([]byte(data), &p); err != nil {
				return nil, fmt.Errorf("reading the progress: %w", err)
			}
			// The line is written over by the next one.
			fmt.Fprintf(progress, "\r%-70.70s", p.Line())
		case "error":
			var e struct {
				Error string `json:"error"`
			}
			if err := json.Unmarshal([]byte(data), &e); err != nil || e.Error == "" {
				return nil, errors.New("the backtest failed")
			}
			return nil, errors.New(e.Error)
		case "report":
			var r backtest.Report
			if err := json.Unmarshal([]byte(data), &r); err != nil {
				return nil, fmt.Errorf("reading the report: %w", err)
			}
			return &r, nil
		}
	}
	return nil, errors.Join(errors.New("the answer ended before the report"), lines.Err())
}
